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
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // statistics, the same each time
	estimate := func(index func(n int) int) float64 {
		sum := 0.0
		for _, p := range pairs {
			var a, b float64
			for round := range p.a {
				i := round
				if index != nil {
					i = index(len(p.a))
				}
				a, b = a+p.a[i], b+p.b[i]
			}
			sum += math.Log(a / b)
		}
		return math.Exp(sum / float64(len(pairs)))
	}
	drawn := make([]float64, resamples)
	for i := range drawn {
		drawn[i] = estimate(random.IntN)
	}
	slices.Sort(drawn)
	return interval{Value: estimate(nil), Low: drawn[resamples*25/1000], High: drawn[resamples*975/1000]}
}

// percentile of values, which it sorts; p from 0 to 1.
func percentile(values []time.Duration, p float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(p*float64(len(values))))]
}

// median of values, which it sorts.
func median(values []time.Duration) time.Duration { return percentile(values, 0.5) }

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
