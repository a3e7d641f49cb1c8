package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

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
	const line = "%-32s  %-24s  %-15s  %s\n"
	fmt.Fprintf(to, "\n"+line+line, "Application", "Name", "Type", "Fit to be a role", "-----------", "----", "----", "----------------")
	for _, app := range list {
		name, kind := []rune(auth0.Printable(app.Name)), auth0.Printable(app.AppType)
		if len(name) > maxName {
			name = append(name[:maxName-1], '…')
		}
		if app.AppType == requirements.AppTypeNotSet {
			kind = "not set"
		}
		fmt.Fprintf(to, line, auth0.Printable(app.ClientID), string(name), kind, verdictWords[app.Verdict])
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
		switch n := utf8.RuneCountInString(word); {
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
