package auth0secrets

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// update has the documents that tests generate written anew: make docs.
var update = flag.Bool("update", false, "write the generated documents of docs/ anew")

// generated checks that a document is what was generated, or makes it so.
func generated(t *testing.T, file, content string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	want, have := strings.Split(content, "\n"), strings.Split(string(text), "\n")
	for i, line := range want { // the first difference says enough
		require.Less(t, i, len(have), "%s ends too early: run make docs", file)
		require.Equal(t, line, have[i], "%s is out of date in line %d: run make docs", file, i+1)
	}
	require.Len(t, have, len(want), "%s goes on too long: run make docs", file)
}

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksOfTheDocuments lead to files, and to headings, that there are.
func TestLinksOfTheDocuments(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	internals, err := filepath.Glob("docs/internals/*.md")
	require.NoError(t, err)
	checked := 0
	for _, file := range append(append(files, internals...), "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, link := range mdLink.FindAllStringSubmatch(string(text), -1) {
			path, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			_, err := os.Stat(target)
			if assert.NoError(t, err, "%s: %s", file, link[1]) && anchor != "" {
				assert.Contains(t, anchorsOf(t, target), anchor, "%s: %s", file, link[1])
			}
			checked++
		}
	}
	assert.Greater(t, checked, 20)
}

// anchorsOf are the anchors that GitHub makes of a document's headings.
func anchorsOf(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var anchors []string
	for _, heading := range mdHeading.FindAllStringSubmatch(string(text), -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors = append(anchors, strings.ReplaceAll(slug, " ", "-"))
	}
	return anchors
}
