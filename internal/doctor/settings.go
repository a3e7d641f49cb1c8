package doctor

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

const (
	formatTable = "table"
	formatJSON  = "json"

	defaultTimeout = 30 * time.Second
)

// connectionFields are the fields of the engine's path config that say how to reach
// Auth0. Each is a flag, too.
var connectionFields = []string{
	"domain", "client_id", "client_secret", "private_key", "signing_algorithm", "audience", "ca_cert", "request_timeout",
}

// ConfigFields are all fields of the engine's path config: what can be written there
// can be given to -config. Those that are no connectionFields change nothing here.
var ConfigFields = append(slices.Clip(connectionFields),
	"propagation_delay", "verify_connection", "drift_check_period",
	"rotation_period", "rotation_schedule", "rotation_window", "disable_automated_rotation", "allowed_applications",
)

// settings are what to check, and in which form to print it.
type settings struct {
	requirements.Connection
	audience     string
	applications []string // client IDs; none: all
	format       string
	lineBreak    bool // a line break after the secret was taken off
}

func (s *settings) byKey() bool { return s.SigningAlgorithm != "" }

// client is the configuration of a client.
func (s *settings) client(userAgent string) auth0.Config {
	return auth0.Config{
		Domain: s.Domain, ClientID: s.ClientID, Secrets: []string{s.Secret}, SigningAlgorithm: s.SigningAlgorithm,
		Audience: s.audience, CACert: s.CACert, RequestTimeout: s.RequestTimeout, UserAgent: userAgent,
	}
}

// given are values by the names of config's fields, before they are checked.
type given map[string]string

// readSettings takes the settings from the command line, else from -config, else from
// the environment. No error quotes a value that may be secret.
func readSettings(args []string, stdin io.Reader, getenv func(string) string) (*settings, error) {
	values, source := given{}, &valueSource{stdin: stdin}
	var applications []string
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, field := range connectionFields {
		flags.Func(field, "", func(raw string) (err error) { // its error quotes raw: a name of a file, or -
			values[field], err = source.resolve(raw)
			return err
		})
	}
	flags.Func("application", "", func(list string) error {
		for id := range strings.SplitSeq(list, ",") {
			if id = strings.TrimSpace(id); id != "" {
				applications = append(applications, id)
			}
		}
		return nil
	})
	config, format := flags.String("config", "", ""), flags.String("format", "", "")
	if err := flags.Parse(args); err != nil {
		if strings.HasPrefix(err.Error(), "bad flag syntax") {
			return nil, errors.New("a flag is not of the form -name=value (not shown: it may hold a secret)")
		}
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, errors.New("an argument is not of the form -name=value (not shown: it may be a secret)")
	}
	if *config != "" {
		if err := values.fillFromConfig(*config, source); err != nil {
			return nil, err
		}
	}
	environment := given{}
	for _, field := range []string{"domain", "client_id", "client_secret"} {
		if value := getenv("AUTH0_" + strings.ToUpper(field)); value != "" {
			environment[field] = value
		}
	}
	values.fill(environment)
	s, err := values.settings()
	if err != nil {
		return nil, err
	}
	for _, id := range applications {
		if err := requirements.CheckClientID(id); err != nil {
			return nil, fmt.Errorf("-application: %w", err)
		}
	}
	s.applications = slices.Compact(slices.Sorted(slices.Values(applications)))
	switch {
	case *format == "" && strings.EqualFold(getenv("VAULT_FORMAT"), formatJSON): // Vault has other formats, too
		s.format = formatJSON
	case *format == "", *format == formatTable:
		s.format = formatTable
	case *format == formatJSON:
		s.format = formatJSON
	default:
		return nil, fmt.Errorf("-format %q is not known: it is %s or %s", *format, formatTable, formatJSON)
	}
	return s, nil
}

// valueSource reads standard input, for one value.
type valueSource struct {
	stdin io.Reader
	used  bool
}

// resolve gives a value as the vault command does: @file is what is in the file, - is
// standard input, \@ is an @.
func (s *valueSource) resolve(raw string) (string, error) {
	var content []byte
	var err error
	file, isFile := strings.CutPrefix(raw, "@")
	switch {
	case isFile:
		content, err = os.ReadFile(file) //nolint:gosec // the user says which file
	case raw == "-" && s.used:
		return "", errors.New("standard input can be read once only")
	case raw == "-":
		s.used = true
		content, err = io.ReadAll(s.stdin)
	case strings.HasPrefix(raw, `\@`):
		return raw[1:], nil
	default:
		return raw, nil
	}
	return string(content), err
}

// fillFromConfig takes what is not given yet from a JSON object with config's fields.
func (g given) fillFromConfig(raw string, source *valueSource) error {
	if raw != "-" && !strings.HasPrefix(raw, "@") {
		return errors.New("-config is a file with a JSON object (@file) or standard input (-)")
	}
	text, err := source.resolve(raw)
	if err != nil {
		return fmt.Errorf("-config: %w", err)
	}
	var object map[string]any
	if json.Unmarshal([]byte(text), &object) != nil || object == nil { // its error would quote the text
		return errors.New("-config is not a JSON object")
	}
	values := given{}
	for field, value := range object {
		if !slices.Contains(ConfigFields, field) {
			return fmt.Errorf("-config has a field %q that the engine's config does not know: there are %s", field, strings.Join(ConfigFields, ", "))
		}
		switch value.(type) {
		case string, float64, bool:
			values[field] = fmt.Sprint(value)
		default:
			return fmt.Errorf("-config: %s is neither text nor a number nor true or false", field)
		}
	}
	g.fill(values)
	return nil
}

// fill takes what is not given yet from others. There is one credential: beside a key,
// the secret of others is left out.
func (g given) fill(others given) {
	_, hasSecret := g["client_secret"]
	_, hasKey := g["private_key"]
	for field, value := range others {
		_, has := g[field]
		credential := field == "client_secret" || field == "private_key"
		if !has && (!credential || !hasSecret && !hasKey) {
			g[field] = value
		}
	}
}

// settings checks what was given, as the engine does when it is configured.
func (g given) settings() (*settings, error) {
	trimmed := func(field string) string { return strings.TrimSpace(g[field]) }
	secret, hasSecret := g["client_secret"]
	key, hasKey := g["private_key"]
	algorithm, hasAlgorithm := g["signing_algorithm"]
	s := &settings{Connection: requirements.Connection{
		Domain: strings.ToLower(trimmed("domain")), ClientID: trimmed("client_id"), CACert: trimmed("ca_cert"), RequestTimeout: defaultTimeout,
	}}
	s.audience = requirements.Audience(s.Domain, trimmed("audience"))
	switch {
	case hasSecret && hasKey:
		return nil, errors.New("client_secret and private_key exclude each other: give the one by which the application authenticates")
	case hasAlgorithm && !hasKey:
		return nil, errors.New("signing_algorithm is only for use with private_key")
	case hasKey:
		s.Secret, s.SigningAlgorithm = key, assertion.Algorithms[0]
	default:
		s.Secret = strings.TrimRight(secret, "\r\n")
		s.lineBreak = s.Secret != secret
	}
	if hasAlgorithm {
		if err := requirements.CheckAlgorithm(algorithm); err != nil {
			return nil, err
		}
		s.SigningAlgorithm = algorithm
	}
	if text := trimmed("request_timeout"); text != "" {
		if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
			s.RequestTimeout = time.Duration(seconds) * time.Second
		} else if s.RequestTimeout, err = time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf("request_timeout %q is not a duration: give it as 30s or in seconds", text)
		}
	}
	return s, s.Check()
}
