package tenant

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// ControlHandler gives the control API, for a person with curl. It is served by
// the tenant itself, too, but there it cannot be reached while the tenant is
// down. Bodies are JSON; durations are like "30s".
//
//	GET    /_simulation/stats
//	GET    /_simulation/journal
//	POST   /_simulation/faults         {"endpoint":"update","client_id":"","kind":"timeout-after-commit","times":1,"status":0,"retry_after":"","delay":"","encoding":"","headers":{}}
//	DELETE /_simulation/faults
//	POST   /_simulation/propagation    {"delay":"30s","mode":"both|old|new|mixed"}
//	POST   /_simulation/rate           {"per_second":2,"burst":10,"window":""}
//	POST   /_simulation/down           {"down":true}
//	POST   /_simulation/expire-tokens
//	POST   /_simulation/drift          {"client_id":"..."}: a new secret as if set in the dashboard
//
// It answers with JSON; there are no secrets in it.
func (t *Tenant) ControlHandler() http.Handler { return t.control }

func (t *Tenant) newControl() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+controlPrefix+"stats", func(w http.ResponseWriter, _ *http.Request) { reply(w, t.Stats()) })
	mux.HandleFunc("GET "+controlPrefix+"journal", func(w http.ResponseWriter, _ *http.Request) { reply(w, t.Journal()) })
	mux.HandleFunc("POST "+controlPrefix+"faults", order(t.orderFault))
	mux.HandleFunc("DELETE "+controlPrefix+"faults", func(w http.ResponseWriter, _ *http.Request) {
		t.ClearFaults()
		reply(w, done)
	})
	mux.HandleFunc("POST "+controlPrefix+"propagation", order(t.orderPropagation))
	mux.HandleFunc("POST "+controlPrefix+"rate", order(func(o struct {
		PerSecond float64  `json:"per_second"`
		Burst     int      `json:"burst"`
		Window    duration `json:"window"`
	}) error {
		t.SetRateLimit(RateLimit{PerSecond: o.PerSecond, Burst: o.Burst, Window: time.Duration(o.Window)})
		return nil
	}))
	mux.HandleFunc("POST "+controlPrefix+"down", order(func(o struct {
		Down *bool `json:"down"`
	}) error {
		if o.Down == nil {
			return fmt.Errorf(`"down" is missing`)
		}
		t.SetDown(*o.Down)
		return nil
	}))
	mux.HandleFunc("POST "+controlPrefix+"expire-tokens", func(w http.ResponseWriter, _ *http.Request) {
		t.ExpireTokens()
		reply(w, done)
	})
	mux.HandleFunc("POST "+controlPrefix+"drift", order(t.orderDrift))
	return mux
}

// done is the answer to an order.
var done = map[string]bool{"done": true}

type faultOrder struct {
	Endpoint   Endpoint          `json:"endpoint"`
	ClientID   string            `json:"client_id"`
	Kind       FaultKind         `json:"kind"`
	Times      int               `json:"times"`
	Status     int               `json:"status"`
	RetryAfter duration          `json:"retry_after"`
	Delay      duration          `json:"delay"`
	Encoding   Encoding          `json:"encoding"`
	Headers    map[string]string `json:"headers"`
}

func (t *Tenant) orderFault(o faultOrder) error {
	f := Fault{
		Endpoint: o.Endpoint, ClientID: o.ClientID, Kind: o.Kind, Times: o.Times, Status: o.Status,
		RetryAfter: time.Duration(o.RetryAfter), Delay: time.Duration(o.Delay), Encoding: o.Encoding, Headers: o.Headers,
	}
	if err := f.check(); err != nil {
		return err
	}
	t.Inject(f)
	return nil
}

type propagationOrder struct {
	Delay duration        `json:"delay"`
	Mode  PropagationMode `json:"mode"`
}

func (t *Tenant) orderPropagation(o propagationOrder) error {
	t.SetPropagation(Propagation{Delay: time.Duration(o.Delay), Mode: o.Mode})
	return nil
}

type driftOrder struct {
	ClientID string `json:"client_id"`
}

func (t *Tenant) orderDrift(o driftOrder) error {
	if _, ok := t.Application(o.ClientID); !ok {
		return fmt.Errorf("there is no application %q", o.ClientID)
	}
	t.SetSecretInDashboard(o.ClientID, randomText(64))
	return nil
}

// order makes a handler that reads a JSON body, of known fields only, and does
// what it says.
func order[T any](do func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o T
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&o)
		if err == nil {
			err = do(o)
		}
		if err != nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
			return
		}
		reply(w, done)
	}
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value)
}

// duration is a time.Duration that is text in JSON; "" is 0.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = 0
		return nil
	}
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}
