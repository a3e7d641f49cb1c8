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

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

const (
	formatTable = "table"
	formatJSON  = "json"

	defaultTimeout = 30 * time.Second
)

// ConfigFields are the fields of the engine's path config, all of which a
// -config may have: what is written there can be given here. Those that do not
// say how to reach Auth0 are passed over.
var ConfigFields = []string{
	"domain", "client_id", "client_secret", "private_key", "signing_algorithm", "audience", "ca_cert", "request_timeout",
	"propagation_delay", "verify_connection", "drift_check_period",
	"rotation_period", "rotation_schedule", "rotation_window", "disable_automated_rotation", "allowed_applications",
}

// settings are what to check, and how to tell of it.
type settings struct {
	requirements.Connection
	audience     string
	applications []string // client IDs; none: all
	format       string
	lineBreak    bool // the secret came with a line break after it, which was taken off
}

func (s *settings) byKey() bool { return s.SigningAlgorithm != "" }

// client is the configuration of a client.
func (s *settings) client(userAgent string) auth0.Config {
	return auth0.Config{
		Domain: s.Domain, ClientID: s.ClientID, Secrets: []string{s.Secret}, SigningAlgorithm: s.SigningAlgorithm,
		Audience: requirements.Audience(s.Domain, s.audience), CACert: s.CACert, RequestTimeout: s.RequestTimeout, UserAgent: userAgent,
	}
}

// given is what was said, before it is looked at: by the names of config's
// fields.
type given map[string]string

// flags are the command line's.
type flags struct {
	*flag.FlagSet
	values       map[string]*string // by the names of config's fields
	config       string
	format       string
	applications listFlag
}

// listFlag may be given more than once, and may hold several.
type listFlag []string

// String implements flag.Value.
func (l *listFlag) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *listFlag) Set(value string) error {
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

func newFlags() *flags {
	f := &flags{FlagSet: flag.NewFlagSet("doctor", flag.ContinueOnError), values: map[string]*string{}}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	for _, field := range ConfigFields[:8] {
		f.values[field] = f.String(strings.ReplaceAll(field, "_", "-"), "", "")
	}
	f.StringVar(&f.config, "config", "", "")
	f.StringVar(&f.format, "format", "", "")
	f.Var(&f.applications, "application", "")
	return f
}

// read takes the settings from the command line, else from -config, else from
// the environment. The errors quote no values that may be secret.
func (f *flags) read(args []string, stdin io.Reader, getenv func(string) string) (*settings, error) {
	if err := f.Parse(args); err != nil {
		if strings.HasPrefix(err.Error(), "bad flag syntax") {
			return nil, errors.New("a flag is not of the form -name=value (not shown: it may hold a secret)")
		}
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, errors.New("there are arguments that no flag precedes (not shown: one may be a secret). Flags are -name=value")
	}
	source := &valueSource{stdin: stdin}
	values, err := f.given(source)
	if err != nil {
		return nil, err
	}
	if f.config != "" {
		config, err := readConfig(f.config, source)
		if err != nil {
			return nil, err
		}
		values.fill(config)
	}
	values.fill(fromEnvironment(getenv))
	s, err := values.settings()
	if err != nil {
		return nil, err
	}
	for _, id := range f.applications {
		if err := requirements.CheckClientID(id); err != nil {
			return nil, fmt.Errorf("-application: %w", err)
		}
	}
	s.applications = slices.Compact(slices.Sorted(slices.Values(f.applications)))
	s.format, err = f.outputFormat(getenv)
	return s, err
}

func (f *flags) given(source *valueSource) (given, error) {
	values := given{}
	var failure error
	f.Visit(func(set *flag.Flag) {
		field := strings.ReplaceAll(set.Name, "-", "_")
		raw, isField := f.values[field]
		if !isField || failure != nil {
			return
		}
		values[field], failure = source.resolve("-"+set.Name, *raw)
	})
	return values, failure
}

// outputFormat goes by the flag, else by Vault's VAULT_FORMAT, whose other
// formats this does not have.
func (f *flags) outputFormat(getenv func(string) string) (string, error) {
	switch {
	case f.format == formatTable || f.format == formatJSON:
		return f.format, nil
	case f.format != "":
		return "", fmt.Errorf("-format %q is not known: it is %s or %s", f.format, formatTable, formatJSON)
	case strings.EqualFold(getenv("VAULT_FORMAT"), formatJSON):
		return formatJSON, nil
	}
	return formatTable, nil
}

// valueSource reads values from where they are said to be.
type valueSource struct {
	stdin io.Reader
	used  bool
}

// resolve gives a value as the vault command does: @file is what is in the
// file, - is standard input, \@ is an @.
func (s *valueSource) resolve(name, raw string) (string, error) {
	if file, ok := strings.CutPrefix(raw, "@"); ok {
		content, err := os.ReadFile(file) //nolint:gosec // whoever runs this says which file
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		return string(content), nil
	}
	if raw == "-" {
		if s.used {
			return "", fmt.Errorf("%s: standard input can be read once only", name)
		}
		s.used = true
		content, err := io.ReadAll(s.stdin)
		if err != nil {
			return "", fmt.Errorf("%s: standard input cannot be read: %w", name, err)
		}
		return string(content), nil
	}
	if strings.HasPrefix(raw, `\@`) {
		return raw[1:], nil
	}
	return raw, nil
}

// readConfig reads a JSON object with config's fields.
func readConfig(raw string, source *valueSource) (given, error) {
	if raw != "-" && !strings.HasPrefix(raw, "@") {
		return nil, errors.New("-config is a file with a JSON object (@file) or standard input (-)")
	}
	text, err := source.resolve("-config", raw)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if json.Unmarshal([]byte(text), &object) != nil || object == nil { // its error would quote the text
		return nil, errors.New("-config is not a JSON object")
	}
	values := given{}
	for field, value := range object {
		if !slices.Contains(ConfigFields, field) {
			return nil, fmt.Errorf("-config has a field %q that the engine's config does not know: there are %s", field, strings.Join(ConfigFields, ", "))
		}
		switch value := value.(type) {
		case string:
			values[field] = value
		case float64:
			values[field] = strconv.FormatFloat(value, 'f', -1, 64)
		case bool:
			values[field] = strconv.FormatBool(value)
		default:
			return nil, fmt.Errorf("-config: %s is neither text nor a number nor true or false", field)
		}
	}
	return values, nil
}

func fromEnvironment(getenv func(string) string) given {
	values := given{}
	for field, name := range map[string]string{
		"domain": "AUTH0_DOMAIN", "client_id": "AUTH0_CLIENT_ID", "client_secret": "AUTH0_CLIENT_SECRET",
	} {
		if value := getenv(name); value != "" {
			values[field] = value
		}
	}
	return values
}

// fill takes what is not given yet from others. There is one credential: a
// secret of others does not come beside a key.
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
	s := &settings{audience: trimmed("audience"), Connection: requirements.Connection{
		Domain: strings.ToLower(trimmed("domain")), ClientID: trimmed("client_id"), CACert: trimmed("ca_cert"), RequestTimeout: defaultTimeout,
	}}
	switch {
	case hasSecret && hasKey:
		return nil, errors.New("client_secret and private_key exclude each other: give the one by which the application authenticates")
	case hasAlgorithm && !hasKey:
		return nil, errors.New("signing_algorithm is only for use with private_key")
	case hasKey:
		s.Secret, s.SigningAlgorithm = key, auth0.SigningAlgorithms[0]
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
		var err error
		if s.RequestTimeout, err = parseDuration(text); err != nil {
			return nil, fmt.Errorf("request_timeout %q is not a duration: give it as 30s or in seconds", text)
		}
	}
	return s, s.Check()
}

// parseDuration reads 30s, or a number of seconds.
func parseDuration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	return time.ParseDuration(text)
}
