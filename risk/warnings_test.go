package risk

import (
	"strings"
	"testing"
)

// TestRulesThatCanNeverHit: bounds that leave no value, and values that the rule's events never have.
func TestRulesThatCanNeverHit(t *testing.T) {
	ofOrders := func(feature string) bool { return strings.Contains(feature, "per_instrument") }
	for _, c := range []struct {
		when, events string
		never        bool
	}{
		{"order.value > 5 and order.value < 3", "payment", true},
		{"order.value >= 5 and not (order.value > 5)", "payment", false},
		{"order.value > 5 and 5 >= order.value", "payment", true},
		{"order.value == 5 and order.value != 5", "payment", true},
		{"order.value > 5 and (order.value < 3 or channel == \"web\")", "payment", false},
		{"not (order.value > 5 or order.value <= 5)", "payment", true},
		{"account.age_days < 0", "payment", true},
		{"order.value > 5", "login", true},
		{"order.value > 5", "login, payment", false},
		{"payments_per_instrument_1h > 5", "login", true},
		{"payments_per_account_30d > 5", "login", false},
		{"type == \"payment\"", "login", true},
		{"type != \"login\" and payments_per_account_30d > 5", "login", true},
		{"channel == \"web\" and channel == \"app\"", "payment", true},
		{"order.has_instrument or payments_per_account_30d > 1", "login", false},
		{"order.value > 10 * order.value", "payment", false}, // beyond what is looked at
	} {
		rule := strings.Replace(ruleText("r", "'"+c.when+"'", "review", "7", "live"), "[payment]", "["+c.events+"]", 1)
		found := load(t, "rules:"+rule).Warnings(eventTime, ofOrders)
		if (len(found) == 1) != c.never {
			t.Errorf("%s on %s: %v", c.when, c.events, found)
		}
	}
	if builtin := load(t, "").Warnings(eventTime, ofOrders); len(builtin) != 0 {
		t.Errorf("built in: %v", builtin)
	}
}
