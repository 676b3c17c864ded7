package risk

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/features/entity"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
)

// judgeEvent evaluates all rules on an event.
func judgeEvent(c *Config, ev *purposepb.RiskEvent, values entity.Values) *riskpb.Decision {
	d := new(riskpb.Decision)
	s := c.sheet()
	c.read(s, ev, &values)
	c.evaluate(s, ev, d)
	c.sheets.Put(s)
	return d
}

// summary is a decision in one line.
func summary(d *riskpb.Decision) string {
	out := []string{outcomeName(d.Outcome), strconv.Itoa(int(d.Score)), strings.Join(d.Rules, ",")}
	if len(d.ShadowRules) > 0 {
		out = append(out, "shadow:"+strings.Join(d.ShadowRules, ","))
	}
	for _, u := range d.Undecided {
		out = append(out, u.Rule+"?"+strings.Join(u.Missing, ","))
	}
	return strings.Join(out, " ")
}

// TestConditions judges one condition: "yes", "no", or the missing values that keep it unknown.
func TestConditions(t *testing.T) {
	known := map[string]float64{"payments_per_instrument_1h": 6, "payments_per_account_30d": 0}
	const a, missing = "payments_per_instrument_1h", "accounts_per_ip_1h"
	for condition, want := range map[string]string{
		a + " >= 6":                                                       "yes",
		a + " > 6":                                                        "no",
		"not (" + a + " > 6)":                                             "yes",
		"payments_per_account_30d == 0":                                   "yes", // 0 is not missing
		missing + " > 3":                                                  "accounts_per_ip_1h",
		"not (" + missing + " > 3)":                                       "accounts_per_ip_1h",
		missing + " == 0 or " + missing + " != 0":                         "accounts_per_ip_1h", // no law of the excluded middle
		a + " > 6 and " + missing + " > 3":                                "no",
		missing + " > 3 and " + a + " > 6":                                "no", // the order does not matter
		a + " >= 6 and " + missing + " > 3":                               "accounts_per_ip_1h",
		a + " >= 6 or " + missing + " > 3":                                "yes",
		missing + " > 3 or " + a + " >= 6":                                "yes",
		missing + " > 3 or " + a + " > 6":                                 "accounts_per_ip_1h",
		"(" + missing + " > 3) == (" + a + " > 3)":                        "accounts_per_ip_1h", // a comparison needs all that it reads
		missing + " > 3 and account.age_days < 1":                         "accounts_per_ip_1h,account.age_days",
		"(" + missing + " > 3 and " + a + " > 6) or account.age_days < 1": "account.age_days", // only what could have changed it
		"order.value < 5 and order.value > 2.4":                           "yes",
		"2 < order.value < 3":                                             "yes",
		"order.value * 2 - 1 == 4 and order.value / 2 < 1.5":              "yes",
		"-order.value < -2":                                               "yes",
		`order.currency == "EUR" and channel == "web"`:                    "yes",
		`order.currency in ["USD", "EUR"]`:                                "yes",
		`order.currency not in ["USD", "EUR"]`:                            "no",
		`order.value in [2.5, 3]`:                                         "yes",
		a + ` in [5, 6]`:                                                  "yes",
		`order.currency startsWith "E" and order.currency endsWith "R"`:   "yes",
		`order.currency contains "UR" && !(order.currency matches "^U")`:  "yes",
		`device.os == "iOS"`:                                              "device.os",
		`device.has_id and not network.has_ip`:                            "yes",
		`type == "payment" and type != "login" and device.has_id`:         "yes",
		`counterparty.kind == "seller"`:                                   "counterparty.kind",
		`order.billing_country != order.shipping_country`:                 "order.billing_country,order.shipping_country",
	} {
		t.Run(condition, func(t *testing.T) {
			c := load(t, "rules:"+ruleText("r", "'"+condition+"'", "review", "7", "live"))
			d := judgeEvent(c, payment("e"), valuesOf(known))
			got := "no"
			if len(d.Rules) > 0 {
				got = "yes"
			}
			if len(d.Undecided) > 0 {
				got = strings.Join(d.Undecided[0].Missing, ",")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRulesTogether(t *testing.T) {
	hit, miss, unknown := "order.value > 1", "order.value > 100", "accounts_per_ip_1h > 1"
	for _, c := range []struct{ name, rules, want string }{
		{"no rule", " []", "allow 0 "},
		{"none hits", ruleText("a", miss, "block", "900", "live"), "allow 0 "},
		{"one hits", ruleText("a", hit, "challenge", "300", "live"), "challenge 300 a"},
		{
			"the strictest wins",
			ruleText("a", hit, "block", "1", "live") + ruleText("b", hit, "review", "2", "live") + ruleText("c", hit, "allow", "4", "live"), "block 7 a,b,c",
		},
		{"review is stricter than challenge", ruleText("a", hit, "challenge", "0", "live") + ruleText("b", hit, "review", "0", "live"), "review 0 a,b"},
		{"the score is capped", ruleText("a", hit, "review", "700", "live") + ruleText("b", hit, "review", "700", "live"), "review 1000 a,b"},
		{"the score leads to a challenge", ruleText("a", hit, "allow", "300", "live") + ruleText("b", hit, "allow", "200", "live"), "challenge 500 a,b"},
		{"the score leads to a review", ruleText("a", hit, "challenge", "500", "live") + ruleText("b", hit, "allow", "400", "live"), "review 900 a,b"},
		{"shadow changes nothing", ruleText("a", hit, "challenge", "300", "live") + ruleText("b", hit, "block", "900", "shadow"), "challenge 300 a shadow:b"},
		{
			"unknown", ruleText("a", unknown, "block", "300", "live") + ruleText("b", unknown, "block", "300", "shadow"),
			"allow 0  a?accounts_per_ip_1h b?accounts_per_ip_1h",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, summary(judgeEvent(load(t, "rules:"+c.rules), payment("e"), valuesOf(nil)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	rules := "rules:" + ruleText("a", "payments_per_instrument_1h > 1 and order.value > 1", "review", "1", "live") +
		strings.ReplaceAll(ruleText("b", "order.value > 1", "review", "1", "live"), "code_b", "code_a") + // one code, one reason
		ruleText("c", "accounts_per_ip_1h > 1 or order.value > 1", "review", "1", "live") +
		strings.ReplaceAll(ruleText("d", `channel == "web"`, "review", "1", "live"), "tell_user: true", "tell_user: false")
	d := judgeEvent(load(t, rules), payment("e"), valuesOf(map[string]float64{"payments_per_instrument_1h": 6}))
	var got []string
	for _, r := range d.Reasons {
		got = append(got, fmt.Sprint(r.Code, " ", r.Text, " ", r.HasValue, " ", r.Value, " ", r.TellUser))
	}
	want := []string{"code_a Text of a. true 6 true", "code_c Text of c. true 2.5 true", "code_d Text of d. false 0 false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	told := answerOf(d)
	if told.Reasons[0].Text == "" || told.Reasons[2].Text != "" || told.Reasons[2].Value != nil {
		t.Error("the answer tells what it must not, or not what it must")
	}
}

func TestRulesJudgeTheirOwnTypesInTheirTime(t *testing.T) {
	c := load(t, "rules:"+ruleText("a", "order.value > 1", "review", "1", "live"))
	login, late, odd := payment("e"), payment("e"), payment("e")
	login.Type, late.Time, odd.Type = vocab.Type_LOGIN, c.rules[0].expiresAt, -1
	for _, ev := range []*purposepb.RiskEvent{login, late, odd} {
		if got := summary(judgeEvent(c, ev, valuesOf(nil))); got != "allow 0 " {
			t.Error(got)
		}
	}
	late.Time--
	if got := summary(judgeEvent(c, late, valuesOf(nil))); got != "review 1 a" {
		t.Error(got)
	}
}

// TestForeignValuesAreMissing gives values of another configuration, and numbers that are none.
func TestForeignValuesAreMissing(t *testing.T) {
	c := load(t, "rules:"+ruleText("a", "payments_per_instrument_1h >= 0", "review", "1", "live"))
	zero := 0.0
	for _, values := range []entity.Values{
		{},
		{Names: []string{"payments_per_instrument_1h"}, Numbers: []float64{3}, Missing: []bool{false}},
		valuesOf(map[string]float64{"payments_per_instrument_1h": zero / zero}),
	} {
		if got := summary(judgeEvent(c, payment("e"), values)); got != "allow 0  a?payments_per_instrument_1h" {
			t.Error(got)
		}
	}
}

// drawRule is a random rule on a few values.
func drawRule(t *rapid.T, id string, mode string) string {
	comparison := rapid.Custom(func(t *rapid.T) string {
		name := rapid.SampledFrom([]string{"payments_per_instrument_1h", "accounts_per_ip_1h", "order.value", "account.age_days"}).Draw(t, "name")
		not := rapid.SampledFrom([]string{"", "not "}).Draw(t, "not")
		return fmt.Sprintf("%s(%s %s %d)", not, name, rapid.SampledFrom([]string{"<", ">", "==", "!="}).Draw(t, "operator"), rapid.IntRange(0, 4).Draw(t, "bound"))
	})
	join := rapid.SampledFrom([]string{" and ", " or "}).Draw(t, "join")
	when := strings.Join(rapid.SliceOfN(comparison, 1, 3).Draw(t, "comparisons"), join)
	outcome := rapid.SampledFrom([]string{"allow", "challenge", "review", "block"}).Draw(t, "outcome")
	return ruleText(id, when, outcome, strconv.Itoa(rapid.IntRange(0, 600).Draw(t, "score")), mode)
}

func drawEvent(t *rapid.T) (*purposepb.RiskEvent, entity.Values) {
	ev := payment("e")
	ev.HasValue, ev.Value = rapid.Bool().Draw(t, "has value"), rapid.Int64Range(0, 5).Draw(t, "value")*1e6
	if rapid.Bool().Draw(t, "has age") {
		ev.SignupTime = ev.Time - rapid.Int64Range(0, 5).Draw(t, "age")*microsPerDay
	}
	known := rapid.MapOf(rapid.SampledFrom([]string{"payments_per_instrument_1h", "accounts_per_ip_1h"}), rapid.Float64Range(0, 5)).Draw(t, "features")
	return ev, valuesOf(known)
}

// TestALiveRuleNeverMakesItMilder adds a rule anywhere: live, the outcome is at least as strict and the score at least as high; in shadow, nothing changes.
func TestALiveRuleNeverMakesItMilder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var rules []string
		for i := range rapid.IntRange(0, 4).Draw(rt, "rules") {
			rules = append(rules, drawRule(rt, fmt.Sprintf("r%d", i), rapid.SampledFrom([]string{"live", "shadow"}).Draw(rt, "mode")))
		}
		added := drawRule(rt, "added", "live")
		at := rapid.IntRange(0, len(rules)).Draw(rt, "at")
		with := func(rule string) *Config {
			all := strings.Join(rules[:at], "") + rule + strings.Join(rules[at:], "")
			if all == "" {
				all = " []"
			}
			return load(t, "rules:"+all)
		}
		ev, values := drawEvent(rt)
		before := judgeEvent(with(""), ev, values)
		live := judgeEvent(with(added), ev, values)
		if live.Outcome < before.Outcome || live.Score < before.Score {
			rt.Errorf("with a rule more: %s, before: %s", summary(live), summary(before))
		}
		shadow := judgeEvent(with(strings.Replace(added, "mode: live", "mode: shadow", 1)), ev, values)
		if diff := cmp.Diff(answerOf(before), answerOf(shadow)); diff != "" {
			rt.Error("a rule in shadow changes the decision", diff)
		}
	})
}

func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		"payments_per_instrument_1h >= 5 and order.value < 5", `order.currency in ["EUR"]`, "not (account.age_days < 1)", "$env", "a.b?.c", "((", "1 in [1..2]",
		"order.value matches \"(\"", "order[order.value]", "order.value > 1 ? 2 : 3", "#", "let x = 1; x", "\x00", "order.value |",
	} {
		f.Add(seed)
	}
	ev, values := payment("e"), valuesOf(map[string]float64{"payments_per_instrument_1h": 6})
	f.Fuzz(func(t *testing.T, source string) {
		l := newLanguage(featureNames)
		when, err := l.compile(source)
		if err != nil {
			return
		}
		c := new(Config)
		c.setSlots(l, featureNames)
		s := c.sheet()
		c.read(s, ev, &values)
		when.judge(s)
	})
}

func BenchmarkEvaluate(b *testing.B) {
	c := load(b, "")
	known := make(map[string]float64)
	for _, name := range featureNames {
		known[name] = 6
	}
	ev, values := payment("e"), valuesOf(known)
	ev.BillingCountry, ev.ShippingCountry, ev.SignupTime = "FR", "FR", ev.Time-1
	b.Logf("%d rules", len(c.rules))
	var d riskpb.Decision
	b.ReportAllocs()
	for b.Loop() {
		d = riskpb.Decision{Reasons: d.Reasons[:0], Rules: d.Rules[:0], Undecided: d.Undecided[:0]}
		s := c.sheet()
		c.read(s, ev, &values)
		c.evaluate(s, ev, &d)
		c.sheets.Put(s)
	}
}
