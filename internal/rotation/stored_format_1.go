package rotation

import (
	"encoding/json"
	"time"
)

// versions are read from a single one, too, as format 1 had it.
type versions []version

// UnmarshalJSON takes a list, or one object.
func (v *versions) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var one version
	if err := json.Unmarshal(data, &one); err == nil {
		*v = versions{one}
		return nil
	}
	return json.Unmarshal(data, (*[]version)(v))
}

// UnmarshalJSON reads the number of the last bulk rotation by its earlier name,
// too.
func (v *version) UnmarshalJSON(data []byte) error {
	type plain version
	stored := struct {
		*plain
		Order int `json:"order"`
	}{plain: (*plain)(v)}
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	v.Bulk = max(v.Bulk, stored.Order)
	return nil
}

// format1 are the fields that format 1 had in place of Cause, Attempt and
// FallbackUntil.
type format1 struct {
	SettledAt time.Time `json:"settled_at"`
	Requested bool      `json:"requested"`
	Forced    bool      `json:"forced"`
	Scheduled bool      `json:"scheduled"`
	Asked     bool      `json:"asked"`
	Unclear   bool      `json:"unclear"`
	Order     int       `json:"order"`
	OwnSecret bool      `json:"own_secret"`
}

// upgrade is the record with the fields of format 1. It does not change a later one.
func (f format1) upgrade(r record) record {
	if !f.SettledAt.IsZero() {
		r.FallbackUntil, r.FallbackFor = f.SettledAt, min(max(f.SettledAt.Sub(r.LastRotation), 0), MaxPropagationDelay)
	}
	r.Force = r.Force || f.Forced
	r.Hidden = r.Hidden || f.OwnSecret
	r.AttemptBulk = max(r.AttemptBulk, f.Order)
	switch {
	case f.Unclear:
		r.Attempt = unclear
	case f.Asked:
		r.Attempt = sent
	}
	switch {
	case r.Cause != byNobody:
	case f.Scheduled:
		r.Cause = bySchedule
	case f.Requested, f.Asked, f.OwnSecret, r.Next != nil && !r.Keys: // which format 1 had not
		r.Cause = byOperator
	}
	return r
}
