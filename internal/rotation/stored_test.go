package rotation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// module is the name of this one, which looks like one of the standard library's.
const module = "vault-plugin-secrets-auth0"

// sourceFiles are the package's own files, parsed.
func sourceFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	files := map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		files[name] = file
	}
	require.NotEmpty(t, files)
	return files
}

func imports(t *testing.T, file *ast.File) []string {
	t.Helper()
	var paths []string
	for _, imported := range file.Imports {
		path, err := strconv.Unquote(imported.Path.Value)
		require.NoError(t, err)
		paths = append(paths, path)
	}
	return paths
}

// TestThePackageKnowsOnlyTheStandardLibrary: nothing of Vault, of Auth0, or of the
// engine.
func TestThePackageKnowsOnlyTheStandardLibrary(t *testing.T) {
	for name, file := range sourceFiles(t) {
		for _, path := range imports(t, file) {
			first, _, _ := strings.Cut(path, "/")
			assert.NotContains(t, first, ".", name)
			assert.NotEqual(t, module, first, name)
		}
	}
}

// TestTheMachineIsPure: it has no other clock than the one it is given, no chance and
// no context. Only the driver may.
func TestTheMachineIsPure(t *testing.T) {
	files := sourceFiles(t)
	for _, name := range []string{"machine.go", "times.go", "view.go"} {
		require.Contains(t, files, name)
	}
	for name, file := range files {
		if name == "run.go" {
			continue
		}
		for _, path := range imports(t, file) {
			assert.Contains(t, []string{"encoding/json", "fmt", "log/slog", "math", "reflect", "slices", "time"}, path, name)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok {
				if of, ok := selector.X.(*ast.Ident); ok && of.Name == "time" {
					assert.NotContains(t, []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"},
						selector.Sel.Name, name)
				}
			}
			return true
		})
	}
}

// filled is a value of a type in which nothing is zero, down to what it points to.
func filled(t *testing.T, value reflect.Value, number *int) {
	t.Helper()
	*number++
	switch value.Interface().(type) {
	case time.Time:
		value.Set(reflect.ValueOf(epoch.Add(time.Duration(*number) * time.Second)))
		return
	case cause:
		value.SetString(string(byBulk))
		return
	case attempt:
		value.SetString(string(unclear))
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		filled(t, value.Elem(), number)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 2, 2))
		for i := range value.Len() {
			filled(t, value.Index(i), number)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			filled(t, value.Field(i), number)
		}
	case reflect.String:
		value.SetString("value " + strconv.Itoa(*number))
	case reflect.Int, reflect.Int64:
		value.SetInt(int64(*number))
	case reflect.Bool:
		value.SetBool(true)
	default:
		require.Fail(t, "no value for it", value.Type())
	}
}

// fullState has a value in every field there is, or will be.
func fullState(t *testing.T) State {
	t.Helper()
	var r record
	number := 0
	filled(t, reflect.ValueOf(&r).Elem(), &number)
	return State{r}
}

func TestAStateIsReadAsItWasStored(t *testing.T) {
	full := fullState(t)
	states := []State{{}, full, Imported("one", 3, epoch), Unknown(epoch)}
	fields := reflect.TypeFor[record]()
	for i := range fields.NumField() { // each without one, and each with little else
		without := full
		field := reflect.ValueOf(&without.r).Elem().Field(i)
		field.SetZero()
		if without.r.Cause != byNobody || without.r.Next == nil { // what is staged always has a cause
			states = append(states, without)
		}
		alone := State{record{Cause: byOperator}}
		reflect.ValueOf(&alone.r).Elem().Field(i).Set(reflect.ValueOf(full.r).Field(i))
		states = append(states, alone)
	}
	for _, st := range states {
		data, err := json.Marshal(st)
		require.NoError(t, err)
		read := fullState(t) // nothing of what was there before is left
		require.NoError(t, json.Unmarshal(data, &read))
		assert.Equal(t, st, read, "%s", data)
		again, err := json.Marshal(&read)
		require.NoError(t, err)
		assert.JSONEq(t, string(data), string(again))
	}
	data, err := json.Marshal(State{})
	require.NoError(t, err)
	assert.Equal(t, "{}", string(data))
}

// TestTheStoredNamesStay: what is stored is read by later versions.
func TestTheStoredNamesStay(t *testing.T) {
	data, err := json.Marshal(fullState(t))
	require.NoError(t, err)
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &fields))
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	assert.ElementsMatch(t, []string{
		"current", "next", "previous", "earlier", "rejected", "staged_at", "staged_ttl", "fallback_until", "fallback_for", "last_rotation",
		"scheduled_from", "cause", "force", "bulk", "bulk_force", "bulk_waits", "attempt", "attempt_bulk", "hidden", "drifted_at",
		"longest_ttl", "longest_until", "longest_kept", "failures", "last_error", "retry_at", "keys", "unproven",
	}, names)
	var secret map[string]any
	require.NoError(t, json.Unmarshal(fields["current"], &secret))
	for _, name := range []string{"version", "value", "made_at", "bulk", "exported"} {
		assert.Contains(t, secret, name)
	}
	assert.Len(t, secret, 5)
	assert.JSONEq(t, `"bulk"`, string(fields["cause"]))
	assert.JSONEq(t, `"unclear"`, string(fields["attempt"]))
	assert.Equal(t, []string{"", "schedule", "operator", "bulk"}, []string{string(byNobody), string(bySchedule), string(byOperator), string(byBulk)})
	assert.Equal(t, []string{"", "sent", "unclear", "partial"}, []string{string(notBegun), string(sent), string(unclear), string(partial)})
}

func read(t *testing.T, stored string) record {
	t.Helper()
	var st State
	require.NoError(t, json.Unmarshal([]byte(stored), &st), stored)
	return st.r
}

// TestFormat1IsRead, with each of the fields that have another name or form now.
func TestFormat1IsRead(t *testing.T) {
	one := version{Number: 1, Value: "one"}
	two := &version{Number: 2, Value: "two"}
	const current, next = `"current":{"version":1,"value":"one"}`, `"next":{"version":2,"value":"two"}`
	for stored, want := range map[string]record{
		`{` + current + `}`:                                  {Current: &one},
		`{"requested":true}`:                                 {Cause: byOperator},
		`{"requested":true,"forced":true}`:                   {Cause: byOperator, Force: true},
		`{` + next + `}`:                                     {Next: two, Cause: byOperator},
		`{` + next + `,"forced":true}`:                       {Next: two, Cause: byOperator, Force: true},
		`{` + next + `,"scheduled":true}`:                    {Next: two, Cause: bySchedule},
		`{` + next + `,"scheduled":true,"unclear":true}`:     {Next: two, Cause: bySchedule, Attempt: unclear},
		`{` + next + `,"scheduled":true,"asked":true}`:       {Next: two, Cause: bySchedule, Attempt: sent},
		`{` + next + `,"unclear":true}`:                      {Next: two, Cause: byOperator, Attempt: unclear},
		`{"asked":true}`:                                     {Cause: byOperator, Attempt: sent},
		`{"asked":true,"unclear":true}`:                      {Cause: byOperator, Attempt: unclear},
		`{"asked":true,"order":4}`:                           {Cause: byOperator, Attempt: sent, AttemptBulk: 4},
		`{"own_secret":true,"requested":true}`:               {Cause: byOperator, Hidden: true},
		`{"own_secret":true}`:                                {Cause: byOperator, Hidden: true},
		`{"settled_at":"2026-03-01T12:00:00Z"}`:              {FallbackUntil: epoch, FallbackFor: time.Hour},
		`{"rejected":{"version":1,"value":"one"}}`:           {Rejected: versions{one}},
		`{"rejected":{"version":1,"value":"one","order":2}}`: {Rejected: versions{{Number: 1, Value: "one", Bulk: 2}}},
		`{"current":{"version":2,"value":"two","order":3,"made_at":"2026-03-01T12:00:00Z"}}`: {Current: &version{
			Number: 2, Value: "two", Bulk: 3, MadeAt: epoch,
		}},
		`{"staged_at":"2026-03-01T12:00:00Z","staged_ttl":900000000000,"last_rotation":"2026-03-01T12:00:00Z",` +
			`"drifted_at":"2026-03-01T12:00:00Z","longest_ttl":5,"longest_until":"2026-03-01T12:00:00Z","longest_kept":true,` +
			`"failures":3,"last_error":"no","retry_at":"2026-03-01T12:00:00Z"}`: {
			StagedAt: epoch, StagedTTL: 15 * time.Minute, LastRotation: epoch, DriftedAt: epoch, LongestTTL: 5, LongestUntil: epoch,
			LongestKept: true, Failures: 3, LastError: "no", RetryAt: epoch,
		},
	} {
		assert.Equal(t, want, read(t, stored), stored)
		// and it is stored in the present form
		data, err := json.Marshal(State{want})
		require.NoError(t, err)
		for _, name := range []string{"settled_at", "requested", "forced", "scheduled", "asked", "own_secret", "order"} {
			assert.NotContains(t, string(data), `"`+name+`"`)
		}
		assert.Equal(t, want, read(t, string(data)))
	}
}

// TestFormat1GoesOnWhereItWas: what is to be done next is what it would have been.
func TestFormat1GoesOnWhereItWas(t *testing.T) {
	set := vaultSettings()
	set.Period, set.Paused = time.Hour, true
	const current = `"last_rotation":"2026-03-01T12:00:00Z","current":{"version":1,"value":"one"}`
	const next = `,"next":{"version":2,"value":"two"},"staged_at":"2026-03-01T12:00:00Z","staged_ttl":60000000000`
	for stored, want := range map[string]action{
		`{` + current + `}`:                              doNothing,
		`{` + current + `,"requested":true}`:             doGenerate,
		`{` + current + `,"asked":true}`:                 doReadBack,
		`{` + current + `,"asked":true,"unclear":true}`:  doReadBack,
		`{` + current + `,"own_secret":true}`:            doGenerate,
		`{` + current + next + `}`:                       doSet,
		`{` + current + next + `,"scheduled":true}`:      doNothing, // it is paused
		`{` + current + next + `,"unclear":true}`:        doSet,
		`{` + current + next + `,"own_secret":true}`:     doSet,
		`{` + current + next + `,"asked":true}`:          doSet,
		`{"requested":true,"forced":true,"failures":1}`:  doGenerate,
		`{"asked":true,"forced":true,"unclear":true}`:    doReadBack,
		`{` + current + `,"own_secret":true,"order":17}`: doGenerate,
	} {
		assert.Equal(t, want, decide(set, read(t, stored), at(2*time.Hour)).action, stored)
	}
}

// TestStoredRolesOfFormat1AreRead, as an engine of that time has stored them.
func TestStoredRolesOfFormat1AreRead(t *testing.T) {
	names, err := filepath.Glob("../../testdata/stored/1/role+*.json")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	want := map[string]record{
		"role+steady.json": {
			Current:      &version{Number: 1, Value: "stored-current-of-client-steady"},
			LastRotation: midnight.Add(-day),
		},
		"role+staged.json": {
			Current:      &version{Number: 1, Value: "stored-current-of-client-staged"},
			Next:         &version{Number: 2, Value: "stored-next-of-client-staged", MadeAt: midnight.Add(-time.Minute)},
			StagedAt:     midnight.Add(-time.Minute),
			StagedTTL:    15 * time.Minute,
			LastRotation: midnight.Add(-day),
			Cause:        byOperator,
		},
		"role+settling.json": {
			Current: &version{
				Number: 2, Value: "stored-current-of-client-settling", MadeAt: midnight.Add(-time.Hour), Bulk: 1,
			},
			Previous:      &version{Number: 1, Value: "stored-previous-of-client-settling"},
			FallbackUntil: midnight.Add(-30 * time.Second), FallbackFor: 30 * time.Second,
			LastRotation: midnight.Add(-time.Minute),
		},
		"role+drifted.json": {
			Current:      &version{Number: 3, Value: "stored-current-of-client-drifted"},
			Previous:     &version{Number: 2, Value: "stored-ours-of-client-drifted"},
			DriftedAt:    midnight.Add(-12 * time.Hour),
			LastRotation: midnight.Add(-day),
		},
		"role+asked.json": {
			Current:      &version{Number: 1, Value: "stored-current-of-client-asked"},
			Cause:        byOperator,
			Attempt:      unclear,
			Failures:     1,
			LastError:    "rotate secret: no clear answer from Auth0",
			RetryAt:      midnight.Add(10 * time.Second),
			LastRotation: midnight.Add(-day),
			LongestTTL:   time.Hour,
			LongestUntil: midnight.Add(30 * time.Minute),
		},
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		var role struct {
			Rotation State `json:"rotation"`
		}
		require.NoError(t, json.Unmarshal(data, &role), name)
		require.Contains(t, want, filepath.Base(name))
		assert.Equal(t, want[filepath.Base(name)], role.Rotation.r, name)
	}
	assert.Len(t, names, len(want))
}

// TestNothingIsReadFromNothing: null is how JSON says that there is none.
func TestNothingIsReadFromNothing(t *testing.T) {
	assert.Equal(t, record{}, read(t, `{"current":null,"next":null,"previous":null,"staged_at":null}`))
	assert.Equal(t, record{}, read(t, `null`))
	assert.Empty(t, read(t, `{"rejected":[]}`).Rejected)
	assert.Empty(t, read(t, `{"rejected":null}`).Rejected)
}

func TestWhatIsNoStateIsAnErrorThatTellsNoSecret(t *testing.T) {
	for _, stored := range []string{
		`{"current":{"version":"x","value":"hush-hush"}}`,
		`{"current":{"version":1,"value":["hush-hush"]}}`,
		`{"current":"hush-hush"}`,
		`{"rejected":"hush-hush"}`,
		`{"rejected":[{"version":"hush","value":"hush-hush"}]}`,
		`{"rejected":{"version":"hush","value":"hush-hush"}}`,
		`{"staged_at":"hush","current":{"version":1,"value":"hush-hush"}}`,
		`{"asked":"hush","current":{"version":1,"value":"hush-hush"}}`,
		`{"current":{"version":1,"value":"hush-hush"}`,
		`{"current":{"version":1,"value":hush-hush}}`,
		`["hush-hush"]`,
	} {
		var st State
		err := json.Unmarshal([]byte(stored), &st)
		require.Error(t, err, stored)
		assert.NotContains(t, err.Error(), "hush-hush", stored)
	}
}

// everyFormat formats a value by every verb, with every flag, line by line. It leaves
// out %p and %w, which are for pointers and errors: fmt asks no other value how it is
// to be printed by them, and vet reports them.
func everyFormat(value any) string {
	var out strings.Builder
	for _, flags := range []string{"", "+", "#", "-", " ", "0", "20", ".4", "+#", "# "} {
		for _, verb := range "abcdefghijklmnoqrstuvxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
			fmt.Fprintf(&out, "%"+flags+string(verb)+"\n", value)
		}
	}
	return out.String()
}

const hush Secret = "hush-hush"

// assertHidden says that the secret, or the beginning of it, is in no line of a text,
// by whatever form of its bytes.
func assertHidden(t *testing.T, text, where string) {
	t.Helper()
	bytes := fmt.Sprintf("%v", []byte("hush"))
	for line := range strings.Lines(strings.ToLower(text)) {
		for _, form := range []string{"hush", fmt.Sprintf("%x", "hush"), fmt.Sprintf("% x", "hush"), bytes[1 : len(bytes)-1]} {
			if strings.Contains(line, form) {
				t.Errorf("%s: %.200s", where, line)
				return
			}
		}
	}
}

func TestASecretIsNeverPrinted(t *testing.T) {
	secret := hush
	for name, value := range map[string]any{
		"secret":  secret,
		"pointer": &secret,
		"list":    []Secret{secret},
		"map":     map[Secret]Secret{secret: secret},
		"version": version{Value: secret},
		"request": Request{Secret: secret},
		"outcome": Outcome{Secret: secret},
		"view":    Imported(secret, 0, epoch).View(vaultSettings(), at(0)),
	} {
		assertHidden(t, everyFormat(value), name)
		assertHidden(t, fmt.Sprint(value)+fmt.Sprintln(value)+fmt.Errorf("no: %v", value).Error(), name)
	}
	assert.Equal(t, redacted, secret.String())
	assert.Equal(t, redacted, fmt.Sprintf("%#v", secret))
	assert.Equal(t, redacted, fmt.Sprintf("%x", secret))
	assert.Equal(t, "hush-hush", string(secret))
	data, err := json.Marshal(Imported(secret, 0, epoch))
	require.NoError(t, err)
	assert.Contains(t, string(data), "hush-hush", "that is how it is stored")
}

// TestAStateIsNeverPrinted: its secrets are in an unexported field, of which fmt
// calls no methods.
func TestAStateIsNeverPrinted(t *testing.T) {
	st := State{record{
		Current: &version{Value: hush}, Next: &version{Value: hush}, Previous: &version{Value: hush}, Rejected: versions{{Value: hush}},
	}}
	for name, value := range map[string]any{
		"state": st, "pointer": &st, "list": []State{st}, "role": struct{ Rotation State }{st},
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			assertHidden(t, fmt.Sprintf(format, value), name+" by "+format)
		}
	}
}

func TestASecretIsNotLoggedAsText(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("secret", "secret", hush, slog.Any("list", []Secret{hush}),
		slog.Any("view", View{Served: []Secret{hush}}), slog.Any("error", fmt.Errorf("no: %v", hush)))
	assert.Contains(t, out.String(), redacted)
	assertHidden(t, out.String(), "text")
}

// TestASecretIsNotLoggedAsJSON, though it is stored as that.
func TestASecretIsNotLoggedAsJSON(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("secret", "secret", hush)
	assertHidden(t, out.String(), "json")
}
