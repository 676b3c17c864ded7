package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// StolenCard is the instrument that the cheats pass around. A visitor of the demo can pay with it, too.
const StolenCard = "tok_stolen"

// Addresses of the cheats; they are of blocks that documentation uses (RFC 5737).
const (
	farmIP   = "198.51.100.23" // many accounts are made here, and passwords tried
	testerIP = "203.0.113.9"
	newIP    = "203.0.113.77"
)

// payment is one that is to be decided. Everything but the first four may be left out.
type payment struct {
	id, user, card, value string
	device, ip            string
	billing, shipping     string    // countries
	signedUp              time.Time // of the account
}

// pay asks for a decision, and tells its outcome.
func (s *Shoppers) pay(ctx context.Context, p payment) (outcome string, err error) {
	e := s.doing(p.id, "payment", p.user, p.device, p.ip)
	order := map[string]any{"order_id": p.id, "value": p.value, "currency": "GBP", "payment_instrument": p.card}
	if p.billing != "" {
		order["billing_country"], order["shipping_country"] = p.billing, p.shipping
	}
	if e["order"] = order; !p.signedUp.IsZero() {
		e["account"] = map[string]any{"signup_time": p.signedUp.UTC().Format(time.RFC3339)}
	}
	return s.decide(ctx, e)
}

func (s *Shoppers) decide(ctx context.Context, event map[string]any) (outcome string, err error) {
	data, err := json.Marshal(event)
	if err != nil {
		return "", err
	}
	var answer struct{ Outcome string }
	err = s.api.insist(ctx, http.MethodPost, "/v1/decisions", "application/json", data, &answer)
	return answer.Outcome, err
}

// doing is an event of an account, with what all of them have in common.
func (s *Shoppers) doing(id, kind, user, device, ip string) map[string]any {
	return map[string]any{
		"id": id, "type": kind, "time": time.Now().UTC().Format(time.RFC3339Nano), "user_id": user, "channel": "web",
		"device": map[string]any{"id": device}, "network": map[string]any{"ip": ip},
	}
}

// homeOf is the address of a shopper's home.
func homeOf(shopper int) string { return fmt.Sprintf("192.0.2.%d", 1+shopper%250) }

// cheat is what some people try at every start: each scheme is what a built-in rule looks for.
func (s *Shoppers) cheat(ctx context.Context) error {
	run := fmt.Sprintf("sim-%d", time.Now().UnixNano())
	for _, scheme := range []func(context.Context, string) error{s.testCard, s.shareCard, s.farmAccounts, s.stuffPasswords, s.shipAbroad, s.spendAtOnce} {
		if err := scheme(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

// testCard tries whether a stolen card works, with small sums.
func (s *Shoppers) testCard(ctx context.Context, run string) error {
	for i := range 8 {
		_, err := s.pay(ctx, payment{id: fmt.Sprintf("%s-test-%d", run, i), user: "sim-tester", card: "tok_tested", value: fmt.Sprintf("%d.%02d", 1+i%3, 10*i), device: "sim-tester", ip: testerIP})
		if err != nil {
			return err
		}
	}
	return nil
}

// shareCard pays with one card for many accounts.
func (s *Shoppers) shareCard(ctx context.Context, run string) error {
	for i := range 7 {
		user := fmt.Sprintf("sim-friend-%d", i)
		_, err := s.pay(ctx, payment{id: fmt.Sprintf("%s-shared-%d", run, i), user: user, card: StolenCard, value: fmt.Sprintf("%d.50", 24+7*i), device: user, ip: fmt.Sprintf("203.0.113.%d", 20+i)})
		if err != nil {
			return err
		}
	}
	return nil
}

// farmAccounts makes accounts from one address, on one device.
func (s *Shoppers) farmAccounts(ctx context.Context, run string) error {
	for i := range 13 {
		if _, err := s.decide(ctx, s.doing(fmt.Sprintf("%s-farm-%d", run, i), "sign_up", fmt.Sprintf("%s-farmed-%d", run, i), "sim-farm", farmIP)); err != nil {
			return err
		}
	}
	return nil
}

// stuffPasswords tries passwords that leaked elsewhere, until one fits.
func (s *Shoppers) stuffPasswords(ctx context.Context, run string) error {
	var failures []any
	for i := range 60 {
		e := s.doing(fmt.Sprintf("%s-stuffed-%d", run, i), "login_failed", fmt.Sprintf("sim-victim-%d", i), "sim-farm", farmIP)
		e["account"] = map[string]any{"failure_reason": "wrong_password"}
		failures = append(failures, e)
	}
	if err := s.api.lines(ctx, "/v1/events", failures, nil); err != nil {
		return err
	}
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for try := range 50 { // the failures need a moment until they count
		outcome, err := s.decide(ctx, s.doing(fmt.Sprintf("%s-stuffed-login-%d", run, try), "login", "sim-victim-59", "sim-farm", farmIP))
		if err != nil || outcome == "block" {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
	return nil
}

// shipAbroad pays with cards of one country for deliveries to another.
func (s *Shoppers) shipAbroad(ctx context.Context, run string) error {
	for i := range 3 {
		user := fmt.Sprintf("sim-abroad-%d", i)
		_, err := s.pay(ctx, payment{id: fmt.Sprintf("%s-abroad-%d", run, i), user: user, card: "tok_" + user, value: fmt.Sprintf("%d.00", 140+60*i), device: user, ip: fmt.Sprintf("203.0.113.%d", 40+i), billing: "GB", shipping: "US"})
		if err != nil {
			return err
		}
	}
	return nil
}

// spendAtOnce spends much with an account that was made an hour ago.
func (s *Shoppers) spendAtOnce(ctx context.Context, run string) error {
	_, err := s.pay(ctx, payment{id: run + "-new", user: run + "-new", card: "tok_" + run, value: "915.00", device: "sim-new", ip: newIP, signedUp: time.Now().Add(-time.Hour)})
	return err
}
