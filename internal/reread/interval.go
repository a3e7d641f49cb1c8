package reread

import (
	"context"
	"reflect"
	"time"
)

// Interval reads at an interval, whatever an answer says, as the External
// Secrets Operator (refreshInterval) and the Secrets Store CSI driver
// (rotation-poll-interval) do. Late is how much later than that it may come.
type Interval struct {
	Every time.Duration
	Late  time.Duration
}

var _ Reader = Interval{}

// Run reads and delivers.
func (i Interval) Run(ctx context.Context, v Vault) {
	var delivered map[string]any
	for {
		if answer, err := v.Read(ctx); err != nil {
			v.Failed(err)
		} else {
			v.Deliver(answer, delivered != nil && !reflect.DeepEqual(delivered, answer.Data))
			delivered = answer.Data
		}
		if !pause(ctx, i.Every+time.Duration(jitter()*float64(i.Late))) {
			return
		}
	}
}
