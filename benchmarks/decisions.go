package main

import (
	"bytes"
	"context"

	"sluice/benchmarks/traffic"
)

// decisions measures payments that are decided on. Each is another one: the same again would be answered from what is stored.
func decisions(ctx context.Context, b *bench) error {
	s, err := b.demo(ctx, "")
	if err != nil {
		return err
	}
	shop := traffic.New(or(b.People, 50_000), or(b.Items, 1000))
	b.profile(ctx, s)
	decided := func(body []byte) bool { return bytes.Contains(body, []byte(`"outcome":"`)) }
	if err := verify(ctx, s, "decisions", shop.Payments(), decided); err != nil {
		return err
	}
	if err := b.ladder(ctx, s, "decisions", shop.Payments(), decided, or(b.Rate, 2000), nil); err != nil {
		return err
	}
	b.memory(s, "in the end")
	return nil
}
