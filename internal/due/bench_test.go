package due

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkIdleTick is what the index does when it is woken and nothing is due.
func BenchmarkIdleTick(b *testing.B) {
	for _, keys := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("roles=%d", keys), func(b *testing.B) {
			x := New(time.Now, func(context.Context, string) time.Time { return time.Time{} })
			for i := range keys {
				x.Set(fmt.Sprint(i), time.Now().Add(time.Hour))
			}
			x.takeDue() // the first look finds what is next
			b.ResetTimer()
			for b.Loop() {
				if due, _, _ := x.takeDue(); len(due) > 0 {
					b.Fatal("something is due")
				}
			}
		})
	}
}
