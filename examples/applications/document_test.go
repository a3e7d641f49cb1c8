package applications

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	document   = "../../docs/applications.md"
	repository = "../../"
	here       = "examples/applications/"
)

var (
	linkToFile = regexp.MustCompile(`\]\(\.\./([\w/.-]+\.\w+)\)`)
	codeBlock  = regexp.MustCompile("(?s)^```(\\w+)\n(.*?)```$")
	indent     = regexp.MustCompile(`(?m)^\t+`)
)

// shownLanguages are those of which the document shows code; of the others it has links
// to files. sh is run by the integration tests.
var shownLanguages = []string{"go", "js", "python", "sh"}

// TestDocumentShowsTheFiles: each block of code in the document is a part of the file
// that is linked to before it, and each file of code is linked to.
func TestDocumentShowsTheFiles(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	linked := map[string]bool{}
	var file string
	for _, paragraph := range paragraphs(string(text)) {
		for _, link := range linkToFile.FindAllStringSubmatch(paragraph, -1) {
			file = link[1]
			linked[file] = true
		}
		block := codeBlock.FindStringSubmatch(paragraph)
		if block == nil {
			continue
		}
		assert.Contains(t, shownLanguages, block[1])
		if block[1] == "sh" {
			continue
		}
		require.NotEmpty(t, file, "a block without a file:\n%s", block[2])
		code, err := os.ReadFile(filepath.Join(repository, file))
		require.NoError(t, err)
		assert.Contains(t, indent.ReplaceAllString(string(code), ""), indent.ReplaceAllString(block[2], ""), file)
		file = ""
	}

	require.NoError(t, filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if entry != nil && entry.Name() == "node_modules" {
				return fs.SkipDir
			}
			return err
		}
		switch filepath.Ext(name) {
		case ".js", ".py", ".java", ".cs":
			assert.True(t, linked[here+filepath.ToSlash(name)], "there is no link to %s", name)
		}
		return nil
	}))
}

// paragraphs splits a document at its fences and empty lines, the latter not
// within a fence.
func paragraphs(text string) []string {
	var all []string
	var current strings.Builder
	fenced := false
	end := func() {
		all = append(all, strings.TrimSuffix(current.String(), "\n"))
		current.Reset()
	}
	for line := range strings.Lines(text) {
		fence := strings.HasPrefix(line, "```")
		if fence && !fenced || !fenced && strings.TrimSpace(line) == "" {
			end()
		}
		current.WriteString(line)
		if fence {
			if fenced {
				end()
			}
			fenced = !fenced
		}
	}
	end()
	return all
}

// TestLockFileNamesNoRegistry: it is to be of use with any.
func TestLockFileNamesNoRegistry(t *testing.T) {
	for file, library := range map[string]string{
		"node/package-lock.json": "express-openid-connect", "../login-proxy/node/package-lock.json": "openid-client",
	} {
		lock, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Contains(t, string(lock), `"node_modules/`+library+`"`)
		assert.NotContains(t, string(lock), `"resolved"`)
	}
}
