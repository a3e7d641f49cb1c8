// Command image makes an OCI image of the binaries of a release, for OpenBao, which
// takes plugins from images, for Vault's containerised plugins, and for init
// containers; and one of the login proxy. It needs no container engine. The same binaries
// make the same image.
//
//	image build PROGRAM bin/release bin/image  into an OCI layout; prints the digest
//	image push bin/image REFERENCE ...         to a registry, under each of the tags
package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "build":
		return build(args[1], args[2], args[3])
	case len(args) > 2 && args[0] == "push":
		return push(args[1], args[2:])
	default:
		return errors.New("either build, a program, a release and a layout, or push, a layout and references")
	}
}

// build makes the image of a program of what goreleaser has put into a folder.
func build(program, release, to string) error {
	text, err := os.ReadFile(filepath.Join(release, "metadata.json")) //nolint:gosec // the folder that was asked for
	if err != nil {
		return err
	}
	var metadata struct{ Version string }
	if err := json.Unmarshal(text, &metadata); err != nil {
		return err
	}
	labels := map[string]string{
		"org.opencontainers.image.title":    program,
		"org.opencontainers.image.version":  metadata.Version,
		"org.opencontainers.image.licenses": "MPL-2.0",
	}
	if repository := os.Getenv("GITHUB_REPOSITORY"); repository != "" {
		labels["org.opencontainers.image.source"] = "https://github.com/" + repository // to which GitHub adds the image
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range []string{"amd64", "arm64"} {
		binary := fmt.Sprintf("%s_%s_linux_%s", program, metadata.Version, architecture)
		image, err := imageOf(program, filepath.Join(release, binary), architecture, labels)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	annotated, ok := mutate.Annotations(index, labels).(v1.ImageIndex)
	if !ok {
		return errors.New("an annotated index is none")
	}
	into, err := layout.Write(to, empty.Index)
	if err != nil {
		return err
	}
	if err := into.AppendIndex(annotated); err != nil {
		return err
	}
	digest, err := annotated.Digest()
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}

// imageOf is the image with one binary: in the root, where OpenBao looks for it, and
// with all else that it needs. There is no base.
func imageOf(program, binary, architecture string, labels map[string]string) (v1.Image, error) {
	content, err := archive(program, binary)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Config.Entrypoint = []string{"/" + program}
	config.Config.User = "65532:65532" // nobody in particular, by number: there is no passwd file
	config.Config.Labels = labels
	return mutate.ConfigFile(image, config)
}

// archive is what is in the image, as a tar file. Nothing in it is of this machine or day.
func archive(program, binary string) ([]byte, error) {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	for _, entry := range []struct {
		name string
		mode int64
		from string // the file that it is of; "" for folders and the roots
	}{
		{"etc/", 0o755, ""},
		{"etc/ssl/", 0o755, ""},
		{"etc/ssl/certs/", 0o755, ""},
		{"etc/ssl/certs/ca-certificates.crt", 0o444, ""},
		{"licenses/", 0o755, ""},
		{"licenses/LICENSE", 0o444, "LICENSE"},
		{"licenses/THIRD_PARTY_LICENSES.txt", 0o444, "bin/THIRD_PARTY_LICENSES.txt"},
		{"tmp/", 0o1777, ""},
		{program, 0o555, binary},
	} {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: entry.name, Mode: entry.mode, ModTime: time.Unix(0, 0)}
		var text []byte
		switch {
		case strings.HasSuffix(entry.name, "/"):
			header.Typeflag = tar.TypeDir
		case entry.from == "":
			text = roots()
		default:
			var err error
			if text, err = os.ReadFile(entry.from); err != nil {
				return nil, err
			}
		}
		header.Size = int64(len(text))
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(text); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// roots are the authorities that Auth0's TLS is checked with: those that Mozilla
// trusts, but for the few that it trusts with constraints, which a file cannot say.
func roots() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			all.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return all.Bytes()
}

func push(from string, references []string) error {
	images, err := layout.ImageIndexFromPath(from)
	if err != nil {
		return err
	}
	manifest, err := images.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 1 {
		return fmt.Errorf("%s has %d images", from, len(manifest.Manifests))
	}
	index, err := images.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	for _, reference := range references {
		tag, err := name.NewTag(reference, name.StrictValidation)
		if err != nil {
			return err
		}
		if err := remote.WriteIndex(tag, index, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return err
		}
		fmt.Printf("%s@%s\n", tag, manifest.Manifests[0].Digest)
	}
	return nil
}
