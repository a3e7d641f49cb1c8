package auth0login

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// These types are printed, logged and marshalled without their secrets. The methods are
// of values, so that values and pointers both have them.

// String gives everything but the secrets.
func (c Credentials) String() string {
	with := fmt.Sprintf("%d client secrets", len(c.ClientSecrets))
	switch {
	case c.PrivateKey != "":
		with = "a private key"
	case c.ClientAssertion != "":
		with = "a client assertion"
	}
	return fmt.Sprintf("%s at %s with %s", c.ClientID, c.Domain, with)
}

// Format is String, for each verb.
func (c Credentials) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, c.String()) }

// MarshalJSON is String. See [ParseCredentials] for the JSON that holds credentials.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// MarshalText is String, for YAML and XML.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LogValue is String, for package slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String gives the domain, if the application has the option [Domain].
func (a Application) String() string {
	if a.domain == nil {
		return "Auth0 application"
	}
	return "Auth0 application at " + *a.domain
}

// Format is String, for each verb.
func (a Application) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, a.String()) }

// MarshalJSON is String.
func (a Application) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }

// LogValue is String, for package slog.
func (a Application) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Format writes the path, for each verb.
func (f *file) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.path) }
