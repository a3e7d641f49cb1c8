package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// resamples are how many times an interval's data are drawn again.
const resamples = 1000

// interval is an estimate with what 95 % of the resampled data give.
type interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// pair is two things measured in the same rounds.
type pair struct{ a, b []float64 }

// ratio is the geometric mean, over pairs, of sum(a)/sum(b), with its interval
// by bootstrap over rounds.
func ratio(pairs ...pair) interval {
	return bootstrap(func(draw func(n int) []int) float64 {
		sum := 0.0
		for _, p := range pairs {
			var a, b float64
			for _, i := range draw(len(p.a)) {
				a, b = a+p.a[i], b+p.b[i]
			}
			sum += math.Log(a / b)
		}
		return math.Exp(sum / float64(len(pairs)))
	})
}

// ratioOfMedians is median(a)/median(b), with its interval by bootstrap.
func ratioOfMedians(a, b []float64) interval {
	return bootstrap(func(draw func(n int) []int) float64 {
		return median(pick(a, draw(len(a)))) / median(pick(b, draw(len(b))))
	})
}

// bootstrap is an estimate with its interval. The estimate asks draw for the
// indices of the n data to go by.
func bootstrap(estimate func(draw func(n int) []int) float64) interval {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // statistics, the same each time
	again := make([]float64, resamples)
	for i := range again {
		again[i] = estimate(func(n int) []int {
			drawn := make([]int, n)
			for j := range drawn {
				drawn[j] = random.IntN(n)
			}
			return drawn
		})
	}
	slices.Sort(again)
	all := func(n int) []int {
		indices := make([]int, n)
		for i := range indices {
			indices[i] = i
		}
		return indices
	}
	return interval{Value: estimate(all), Low: again[resamples*25/1000], High: again[resamples*975/1000]}
}

func pick(values []float64, indices []int) []float64 {
	picked := make([]float64, len(indices))
	for i, index := range indices {
		picked[i] = values[index]
	}
	return picked
}

// percentile of values, which it sorts; p from 0 to 1.
func percentile(values []time.Duration, p float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(p*float64(len(values))))]
}

// median of values, and not a number if there are none.
func median[T ~int64 | ~float64](values []T) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return float64(sorted[(n-1)/2]+sorted[n/2]) / 2
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
