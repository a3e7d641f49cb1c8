package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

const (
	lineWidth = 96 // characters, where a line can be wrapped
	maxName   = 24
)

// printTable prints a report for people.
func printTable(to io.Writer, r *Report) {
	fmt.Fprintf(to, "Tenant        %s\nApplication   %s\n\n", auth0.Printable(r.Domain), auth0.Printable(r.ClientID))
	fmt.Fprintf(to, "%-16s %-9s %s\n%-16s %-9s %s\n", "Check", "Result", "What", "-----", "------", "----")
	for _, check := range r.Checks {
		const indent = 27
		fmt.Fprintf(to, "%-16s %-9s %s\n", check.Name, check.Status, wrapped(check.Message, indent))
		if check.Remedy != "" {
			fmt.Fprintf(to, "%*s%s\n", indent, "", wrapped("To do: "+check.Remedy, indent))
		}
	}
	printScopes(to, r)
	printApplications(to, r.Applications.List)
}

// printScopes prints what was granted, and what it means; nothing without a
// login.
func printScopes(to io.Writer, r *Report) {
	if !slices.ContainsFunc(r.Scopes, func(s Scope) bool { return s.Granted != nil }) {
		return
	}
	fmt.Fprintf(to, "\n%-27s %-7s %s\n%-27s %-7s %s\n", "Scope", "Granted", "What for", "-----", "-------", "--------")
	for _, scope := range r.Scopes {
		granted, what := "yes", scope.Enables
		switch {
		case *scope.Granted:
		case !scope.Needed:
			continue
		default:
			granted, what = "NO", "without it: "+scope.Without
		}
		const indent = 36
		fmt.Fprintf(to, "%-27s %-7s %s\n", scope.Name, granted, wrapped(strings.ReplaceAll(what, "`", ""), indent))
	}
	if len(r.OtherScopes) > 0 {
		fmt.Fprintf(to, "\n%s\n", wrapped("Granted as well, and of use only to tokens that token-roles hand out: "+strings.Join(r.OtherScopes, ", ")+".", 0))
	}
}

// verdictWords are how the table says whether an application can be a role.
var verdictWords = map[Verdict]string{Fit: "yes", FitWithWarnings: "yes, but", Unfit: "no", Unchecked: "unchecked"}

func printApplications(to io.Writer, list []Application) {
	if len(list) == 0 {
		return
	}
	id, name, kind := len("Application"), len("Name"), len("Type")
	rows := make([][3]string, len(list))
	for i, app := range list {
		row := [3]string{auth0.Printable(app.ClientID), shortened(auth0.Printable(app.Name)), typeName(app.AppType)}
		id, name, kind = max(id, runes(row[0])), max(name, runes(row[1])), max(kind, runes(row[2]))
		rows[i] = row
	}
	line := fmt.Sprintf("%%-%ds  %%-%ds  %%-%ds  %%s\n", id, name, kind)
	fmt.Fprintf(to, "\n"+line+line, "Application", "Name", "Type", "Fit to be a role", "-----------", "----", "----", "----------------")
	for i, app := range list {
		fmt.Fprintf(to, line, rows[i][0], rows[i][1], rows[i][2], verdictWords[app.Verdict])
		for _, reason := range app.Reasons {
			fmt.Fprintf(to, "    %s\n", wrapped(auth0.Printable(reason), 4))
		}
	}
}

// wrapped breaks text into lines of lineWidth, all but the first indented.
func wrapped(text string, indent int) string {
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		switch n := runes(word); {
		case i == 0:
			at += n
		case at+1+n > lineWidth:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent + n
		default:
			b.WriteByte(' ')
			at += 1 + n
		}
		b.WriteString(word)
	}
	return b.String()
}

func shortened(text string) string {
	if chars := []rune(text); len(chars) > maxName {
		return string(chars[:maxName-1]) + "…"
	}
	return text
}

func runes(text string) int { return len([]rune(text)) }

// typeName is an app_type as the table shows it.
func typeName(appType string) string {
	if appType == requirements.AppTypeNotSet {
		return "not set"
	}
	return auth0.Printable(appType)
}
