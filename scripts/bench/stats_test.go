package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRatioIsOfSumsAndHasAnInterval(t *testing.T) {
	same := ratio(pair{[]float64{1, 2, 3}, []float64{1, 2, 3}})
	assert.Equal(t, interval{1, 1, 1}, same)
	half := ratio(pair{[]float64{1, 1, 4}, []float64{2, 2, 8}}, pair{[]float64{5}, []float64{10}})
	assert.InDelta(t, 0.5, half.Value, 1e-9)
	mixed := ratio(pair{[]float64{1, 1, 1, 1}, []float64{1, 2, 1, 2}})
	assert.InDelta(t, 4.0/6, mixed.Value, 1e-9)
	assert.Less(t, mixed.Low, mixed.Value)
	assert.Greater(t, mixed.High, mixed.Value)
}

func TestRatioOfMedians(t *testing.T) {
	found := ratioOfMedians([]float64{4, 2, 900, 4, 5}, []float64{2, 1, 2, 3})
	assert.InDelta(t, 2, found.Value, 1e-9)
	assert.Less(t, found.Low, 2.0)
	assert.Greater(t, found.High, 2.0)
	assert.True(t, math.IsNaN(ratioOfMedians(nil, nil).Value))
}

func TestPercentile(t *testing.T) {
	values := []time.Duration{5, 1, 4, 2, 3}
	assert.Equal(t, time.Duration(3), time.Duration(median(values)))
	assert.Equal(t, time.Duration(5), percentile(values, 0.99))
	assert.Zero(t, percentile(nil, 0.5))
}

func TestSamplesOfGoBenchmarks(t *testing.T) {
	found, err := samples(strings.NewReader(`goos: linux
BenchmarkRebuild/roles=1000-2   1   3000000000 ns/op   1300 B/role
BenchmarkRebuild/roles=1000-2   1   1000000000 ns/op   1200 B/role
BenchmarkRebuild/roles=1000-2   1   2000000000 ns/op   1100 B/role
`))
	require.NoError(t, err)
	assert.Equal(t, inProcess{"Rebuild/roles=1000": {"sec/op": {3, 1, 2}, "B/role": {1300, 1200, 1100}}}, found)
	assert.InDelta(t, 2, found.median("Rebuild/roles=1000", "sec/op"), 1e-9)
	assert.True(t, math.IsNaN(found.median("Rebuild/roles=1", "sec/op")))

	_, err = samples(strings.NewReader("BenchmarkIdleTick/roles=1000-2   --- FAIL: BenchmarkIdleTick/roles=1000\n"))
	require.ErrorContains(t, err, "failed")
}

func TestGoalsAreMissedOnlyBeyondDoubt(t *testing.T) {
	slow := []*reading{
		{What: baselineLeased, rates: []float64{100, 101, 100, 99}}, {What: credsOne, rates: []float64{80, 81, 82, 79}},
		{What: credsMany, rates: []float64{120, 70, 110, 85}},
		{What: baselinePlain, rates: []float64{100, 101, 100, 99}}, {What: staticOne, rates: []float64{100, 101, 100, 99}},
		{What: staticMany, rates: []float64{100, 101, 100, 99}},
	}
	for _, row := range slow {
		row.Storage = inMemory
	}
	for _, row := range slow[:len(slow):len(slow)] {
		same := *row
		same.Storage = raft
		slow = append(slow, &same)
	}
	r := &report{Reading: slow, Size: sizeResult{Plugin: 1, Baseline: 1}}
	r.Rotation.Lost = 1
	r.judge()
	assert.False(t, r.Goals[0].Met)
	assert.False(t, r.Goals[0].Unclear)
	assert.False(t, r.Goals[2].Met)
	assert.True(t, r.Goals[2].Unclear)
	assert.True(t, r.Goals[4].Met)
	for _, g := range r.Goals {
		if strings.Contains(g.What, "lost") || strings.Contains(g.What, "memory for") {
			assert.False(t, g.Met || g.Unclear, "%s: what is not zero, or was not measured", g.What)
		}
	}
	var text strings.Builder
	r.printGoals(&text)
	assert.Contains(t, text.String(), "MISSED by 0.165")
	assert.Contains(t, text.String(), "within the interval")
}
