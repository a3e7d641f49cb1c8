package auth0secrets

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// The picture of docs/rotation.md is drawn from what an engine did: a role with a
// schedule, and readers, through one rotation on a fake clock.

const (
	pictureTTL         = 2 * time.Minute
	picturePropagation = 30 * time.Second
	picturePeriod      = 6 * time.Minute

	pictureBefore = 190 * time.Second // shown before the rotation takes effect
	pictureAfter  = 95 * time.Second
)

// TestRotationPicture: docs/rotation.svg shows what the engine does.
func TestRotationPicture(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var text strings.Builder
		page, err := template.ParseFiles("testdata/rotation.svg.tmpl")
		require.NoError(t, err)
		require.NoError(t, page.Execute(&text, draw(observe(t))))
		generated(t, "docs/rotation.svg", text.String())
	})
}

// span is a time for which something was so.
type span struct {
	from, until time.Duration // from the time at which the rotation took effect
	what        string        // a phase, or the secrets in the order in which they are tried
	lease       time.Duration // its end; 0: none
}

// observation is what was seen of a rotation.
type observation struct {
	phases, served, accepted []span
	readers                  []pictureReader
	marks                    map[string]time.Duration // staged_at, ready_at, settled_at
}

// pictureReader is somebody who reads the credentials.
type pictureReader struct {
	name, path string
	first      time.Duration
	share      float64 // of the lease, or of ttl, after which it reads again
	held       []span
}

func pictureReaders() []pictureReader {
	return []pictureReader{
		{name: "Vault Agent", path: "creds/app", first: -pictureBefore, share: 0.9},
		{name: "another Agent", path: "creds/app", first: -pictureBefore + 50*time.Second, share: 0.9},
		{name: "a late reader", path: "creds/app", first: -pictureTTL - 2*time.Second, share: 1},
		{name: "static-creds/ by ttl", path: "static-creds/app", first: -pictureBefore, share: 1},
	}
}

// observe has an engine rotate, and looks at it each second.
func observe(t *testing.T) observation {
	t.Helper()
	env := configuredEnv(t)
	env.write("config", map[string]any{fieldPropagationDelay: picturePropagation.String()})
	env.write("roles/app", map[string]any{
		fieldClientID: testAppID, fieldTTL: pictureTTL.String(), fieldRotationPeriod: picturePeriod.String(),
	})
	effect := time.Now().Add(picturePeriod)
	setAt := pictureAfter
	seen := observation{readers: pictureReaders(), marks: map[string]time.Duration{}}
	sleep(picturePeriod - pictureBefore)
	for now := -pictureBefore; now < pictureAfter; now += time.Second {
		timeline := env.read("rotate/app")
		for _, mark := range []string{fieldStagedAt, fieldReadyAt, fieldFallbackUntil} {
			if at, ok := timeline[mark].(string); ok {
				when, err := time.Parse(time.RFC3339, at)
				require.NoError(t, err)
				seen.marks[mark] = when.Sub(effect)
			}
		}
		seen.phases = extend(seen.phases, now, timeline[fieldPhase].(string))
		set := env.read("static-creds/app")[fieldClientSecrets].([]string)
		seen.served = extend(seen.served, now, inLetters(set))
		accepted := inLetters([]string{env.auth0.secret(testAppID)})
		if accepted == "B" {
			setAt = min(setAt, now)
		}
		if now >= setAt && now < setAt+picturePropagation {
			accepted = "A or B"
		}
		seen.accepted = extend(seen.accepted, now, accepted)
		for i := range seen.readers {
			seen.readers[i].at(env, now)
			seen.readers[i].canLogIn(t, now, accepted)
		}
		sleep(time.Second)
	}
	return seen
}

// extend adds a second to the last span, or begins another.
func extend(spans []span, now time.Duration, what string) []span {
	if last := len(spans) - 1; last >= 0 && spans[last].what == what {
		spans[last].until = now + time.Second
		return spans
	}
	return append(spans, span{from: now, until: now + time.Second, what: what})
}

// inLetters calls the secret that the application had A, and its next one B.
func inLetters(secrets []string) string {
	letters := make([]string, len(secrets))
	for i, secret := range secrets {
		letters[i] = "B"
		if secret == testAppSecret {
			letters[i] = "A"
		}
	}
	return strings.Join(letters, ", then ")
}

// at has the reader read if it is time to.
func (r *pictureReader) at(env *testEnv, now time.Duration) {
	last := len(r.held) - 1
	if now < r.first || last >= 0 && now < r.held[last].until {
		return
	}
	resp := env.must(logical.ReadOperation, r.path, nil)
	seconds := resp.Data[fieldTTL].(int64)
	keep := time.Duration(seconds) * time.Second
	read := span{from: now, until: now + time.Duration(float64(keep)*r.share), what: inLetters(resp.Data[fieldClientSecrets].([]string))}
	if resp.Secret != nil {
		read.lease = now + keep
	}
	r.held = append(r.held, read)
}

// canLogIn checks that what the reader holds is good, or the picture would lie.
func (r *pictureReader) canLogIn(t *testing.T, now time.Duration, accepted string) {
	t.Helper()
	if now < r.first {
		return
	}
	held := r.held[len(r.held)-1].what
	for _, secret := range strings.Split(accepted, " or ") {
		require.Contains(t, held, secret, "%s at %s: Auth0 accepts %s", r.name, now, accepted)
	}
}

// drawing is what the template of the picture is filled with.
type drawing struct {
	Settings      string
	Width, Height float64
	Top, Bottom   float64 // of the marks
	Caption       float64 // of what readers hold
	Lanes         []drawnLane
	Marks         []drawnMark
	Left, Right   float64
	Ticks         []drawnTick
	Legend        []drawnKey
}

type drawnLane struct {
	Name string
	Y    float64
	Bars []drawnBar
}

type drawnBar struct {
	X, Y, Width, Height float64
	First, Second       string // classes; Second "": one secret, or none
	Text                string
	TextX               float64
	Lease               float64 // the width of its lease; 0: none
	LeaseEnds           bool    // within the picture
	Line                float64 // where the lease is drawn
}

// Of a bar with two secrets the upper part is the one to try first.
const shareOfFirst = 0.58

func (b drawnBar) Below() float64  { return b.Y + b.Height*shareOfFirst }
func (b drawnBar) Under() float64  { return b.Height * (1 - shareOfFirst) }
func (b drawnBar) Middle() float64 { return b.Y + b.Height/2 }

type drawnMark struct {
	X, LabelX, LabelY, LineTop float64
	Label, Anchor              string
}

type drawnTick struct {
	X     float64
	Label string
}

func (drawnTick) Below(axis float64) float64 { return axis + 5 }
func (drawnTick) Under(axis float64) float64 { return axis + 19 }

// drawnKey explains a colour.
type drawnKey struct {
	X, Y, TextX, TextY float64
	Class, Text        string
}

const (
	pictureWidth = 900
	pictureLeft  = 152
	pictureRight = 14
	laneHeight   = 34
	barHeight    = 24
	readerHeight = 38
	readerBar    = 20
	letterWidth  = 7.2
)

// x is where a time is in the picture.
func x(at time.Duration) float64 {
	at = min(max(at, -pictureBefore), pictureAfter)
	return pictureLeft + float64(at+pictureBefore)/float64(pictureBefore+pictureAfter)*(pictureWidth-pictureLeft-pictureRight)
}

func draw(seen observation) drawing {
	picture := drawing{
		Settings: fmt.Sprintf("ttl=%s, rotation_period=%s, propagation_delay=%s",
			shortly(pictureTTL), shortly(picturePeriod), shortly(picturePropagation)),
		Width: pictureWidth, Top: 66, Left: pictureLeft, Right: pictureWidth - pictureRight,
	}
	y := picture.Top + 10
	for _, lane := range []struct {
		name  string
		spans []span
	}{{"phase", seen.phases}, {"handed out", seen.served}, {"Auth0 accepts", seen.accepted}} {
		picture.Lanes = append(picture.Lanes, drawnLane{lane.name, y + barHeight/2, bars(lane.spans, y, barHeight)})
		y += laneHeight
	}
	picture.Caption = y + 12
	y += 24
	for _, reader := range seen.readers {
		picture.Lanes = append(picture.Lanes, drawnLane{reader.name, y + readerBar/2, bars(reader.held, y, readerBar)})
		y += readerHeight
	}
	picture.Bottom = y
	picture.Marks = []drawnMark{
		mark(fieldStagedAt, seen.marks[fieldStagedAt], "middle", 0), mark(fieldReadyAt, seen.marks[fieldReadyAt], "end", 0),
		mark("T: set in Auth0", 0, "start", 0), mark(fieldFallbackUntil, seen.marks[fieldFallbackUntil], "start", 1),
	}
	for at := (-pictureBefore).Truncate(30 * time.Second); at < pictureAfter; at += 30 * time.Second {
		tick := drawnTick{X: x(at)}
		if at%time.Minute == 0 {
			tick.Label = relative(at)
		}
		picture.Ticks = append(picture.Ticks, tick)
	}
	at := 14.0
	for _, key := range [][2]string{
		{"A", "the secret until now"}, {"B", "the next secret"}, {"either", "either: it has not reached all of Auth0 yet"},
	} {
		picture.Legend = append(picture.Legend, drawnKey{at, y + 38, at + 33, y + 49, key[0], key[1]})
		at += 62 + float64(len(key[1]))*6.6
	}
	picture.Height = y + 66
	return picture
}

func mark(label string, at time.Duration, anchor string, row float64) drawnMark {
	shift := map[string]float64{"middle": 0, "end": -4, "start": 4}[anchor]
	return drawnMark{X: x(at), LabelX: x(at) + shift, LabelY: 46 + 15*row, LineTop: 51 + 15*row, Label: label, Anchor: anchor}
}

func bars(spans []span, y, height float64) []drawnBar {
	drawn := make([]drawnBar, 0, len(spans))
	for i, s := range spans {
		bar := drawnBar{X: x(s.from), Y: y, Width: x(s.until) - x(s.from) - 1.5, Height: height}
		bar.TextX = bar.X + bar.Width/2
		switch classes := strings.Split(s.what, ", then "); {
		case s.what == "A or B":
			bar.First = "either"
		case slices.Contains([]string{"A", "B"}, classes[0]):
			bar.First = classes[0]
			if len(classes) > 1 {
				bar.Second = classes[1]
			}
		default:
			bar.First = "phase"
		}
		if float64(len(s.what))*letterWidth+4 < bar.Width {
			bar.Text = s.what
		}
		if s.lease != 0 {
			bar.Lease, bar.LeaseEnds = x(s.lease)-x(s.from), s.lease < pictureAfter
			bar.Line = y + height + 4 + float64(i%2)*4 // they overlap
		}
		drawn = append(drawn, bar)
	}
	return drawn
}

func relative(at time.Duration) string {
	switch {
	case at < 0:
		return "T−" + shortly(-at)
	case at > 0:
		return "T+" + shortly(at)
	default:
		return "T"
	}
}

func shortly(d time.Duration) string { return trailingZeros.ReplaceAllString(d.String(), "$1") }
