package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// metricName finds metrics of the engine in an expression of PromQL.
var metricName = regexp.MustCompile(`\bauth0_\w+`)

// realMetrics are those that docs/api.md has, which is generated from the engine.
func realMetrics(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/api.md")
	require.NoError(t, err)
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (auth0_\w+)`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, found[1])
	}
	require.Greater(t, len(names), 10)
	return names
}

// onlyReal checks that expressions name metrics of the engine, and only such as there
// are; and says which.
func onlyReal(t *testing.T, expressions []string) []string {
	t.Helper()
	real := realMetrics(t)
	var all []string
	for _, expression := range expressions {
		named := metricName.FindAllString(expression, -1)
		assert.NotEmpty(t, named, expression)
		for _, name := range named {
			assert.Contains(t, real, name, expression)
		}
		all = append(all, named...)
	}
	return all
}

// dashboardQueries are the expressions of the dashboard.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("monitoring/dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Templating struct {
			List []struct {
				Name, Type, Definition string
			}
		}
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	var queries []string
	ids := map[int]bool{}
	for _, panel := range dashboard.Panels {
		assert.False(t, ids[panel.ID], "panel %d is there twice", panel.ID)
		ids[panel.ID] = true
		assert.NotEmpty(t, panel.Targets, panel.Title)
		assert.LessOrEqual(t, panel.GridPos.X+panel.GridPos.W, 24, panel.Title)
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
		}
	}
	for _, variable := range dashboard.Templating.List {
		if variable.Type == "query" {
			queries = append(queries, variable.Definition)
		}
	}
	return queries
}

// TestDashboardNamesMetricsThatThereAre, and shows all.
func TestDashboardNamesMetricsThatThereAre(t *testing.T) {
	shown := onlyReal(t, dashboardQueries(t))
	for _, metric := range realMetrics(t) {
		assert.Contains(t, shown, metric, "the dashboard does not show it")
	}
}

// alertRule is a rule of monitoring/rules.yml.
type alertRule struct{ Alert, Expr string }

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	text, err := os.ReadFile("monitoring/rules.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct{ Rules []alertRule }
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	require.Len(t, file.Groups, 1)
	return file.Groups[0].Rules
}

// TestAlertRulesNameMetricsThatThereAre; each has a case in which it fires, one in
// which it does not, and a line in docs/operations.md.
func TestAlertRulesNameMetricsThatThereAre(t *testing.T) {
	cases, err := os.ReadFile("monitoring/rules_test.yml")
	require.NoError(t, err)
	document, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	var expressions []string
	for _, rule := range alertRules(t) {
		expressions = append(expressions, rule.Expr)
		silent := strings.Contains(string(cases), "alertname: "+rule.Alert+", exp_alerts: []}")
		assert.True(t, silent, "%s: no case in which it does not fire", rule.Alert)
		fires := regexp.MustCompile(`alertname: ` + rule.Alert + `\n +exp_alerts:\n`).Match(cases)
		assert.True(t, fires, "%s: no case in which it fires", rule.Alert)
		assert.True(t, strings.Contains(string(document), "`"+rule.Alert+"`"), "%s is not in docs/operations.md", rule.Alert) //nolint:testifylint // it would print the document
	}
	onlyReal(t, expressions)
}

// TestPromtool has Prometheus' own tool check the rules, with cases, and the
// configuration.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("skipped: promtool is not installed; it comes with Prometheus (Debian: apt-get install prometheus)")
	}
	for _, args := range [][]string{
		{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}, {"check", "config", "--syntax-only", "prometheus.yml"},
	} {
		command := exec.CommandContext(t.Context(), promtool, args...)
		command.Dir = "monitoring"
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s\n%s", strings.Join(args, " "), out)
	}
	// what docs/api.md shows of the engine's answer, by Prometheus' conventions
	text, err := os.ReadFile("../docs/api.md")
	require.NoError(t, err)
	_, answer, _ := strings.Cut(string(text), "```\n# HELP auth0_")
	answer, _, _ = strings.Cut("# HELP auth0_"+answer, "```")
	lines := slices.DeleteFunc(strings.SplitAfter(answer, "\n"), func(line string) bool { return line == "...\n" })
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(strings.Join(lines, ""))
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Empty(t, string(out))
}
