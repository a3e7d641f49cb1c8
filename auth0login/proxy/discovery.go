package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// maxDiscovery is how long a discovery document may be.
const maxDiscovery = 256 << 10

// discovering is what there is to know about a request for the discovery document.
const discovering = "discovery"

// rewriteDiscovery has the endpoints that carry client authentication be the proxy's.
// The issuer and all else stay as they are.
func (p *Proxy) rewriteDiscovery(answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return nil
	}
	for _, name := range []string{"Etag", "Last-Modified", "Content-Length", "Digest", "Content-Md5"} {
		answer.Header.Del(name)
	}
	if answer.Request.Method == http.MethodHead {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxDiscovery+1))
	_ = answer.Body.Close()
	if err != nil {
		return err
	}
	var document map[string]json.RawMessage
	if len(text) > maxDiscovery || json.Unmarshal(text, &document) != nil {
		return unreachable
	}
	for path, field := range loginPaths {
		if _, ok := document[field]; ok {
			document[field], _ = json.Marshal(p.publicURL + path) // text has JSON
		}
	}
	if text, err = json.Marshal(document); err != nil {
		return err
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	answer.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}
