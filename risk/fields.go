package risk

import (
	"math"

	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// kind is the type of a value that a rule may read.
type kind uint8

const (
	numberKind kind = iota
	textKind
	flagKind
)

func (k kind) String() string {
	return [...]string{"a number", "a text", "true or false"}[k]
}

// value is one value of an event or of its features. Only the member of its kind is meaningful.
type value struct {
	number float64
	text   string
	flag   bool
}

// field is a value that the event itself carries. What is read may be missing; a flag never is.
type field struct {
	name string
	kind kind
	read func(ev *purposepb.RiskEvent) (v value, ok bool)
}

const microsPerDay = 24 * 60 * 60 * 1e6

// fields are the event's own values that a rule may read, beside the features. Identifiers are not among them: whether there is one is.
var fields = []field{
	textField("type", func(ev *purposepb.RiskEvent) string { return ev.Type.Name() }),
	textField("channel", func(ev *purposepb.RiskEvent) string { return ev.Channel.Name() }),
	{name: "order.value", kind: numberKind, read: func(ev *purposepb.RiskEvent) (value, bool) {
		return value{number: float64(ev.Value) / 1e6}, ev.HasValue
	}},
	textField("order.currency", func(ev *purposepb.RiskEvent) string { return ev.Currency }),
	textField("order.billing_country", func(ev *purposepb.RiskEvent) string { return ev.BillingCountry }),
	textField("order.shipping_country", func(ev *purposepb.RiskEvent) string { return ev.ShippingCountry }),
	flagField("order.has_instrument", func(ev *purposepb.RiskEvent) []byte { return ev.Instrument }),
	flagField("order.has_shipping_address", func(ev *purposepb.RiskEvent) []byte { return ev.ShippingAddress }),
	textField("counterparty.kind", func(ev *purposepb.RiskEvent) string { return ev.CounterpartyKind.Name() }),
	flagField("counterparty.has_id", func(ev *purposepb.RiskEvent) []byte { return ev.Counterparty }),
	textField("account.status", func(ev *purposepb.RiskEvent) string { return ev.AccountStatus }),
	textField("account.failure_reason", func(ev *purposepb.RiskEvent) string { return ev.FailureReason }),
	textField("account.email_domain", func(ev *purposepb.RiskEvent) string { return ev.EmailDomain }),
	{name: "account.age_days", kind: numberKind, read: accountAge},
	flagField("account.has_email", func(ev *purposepb.RiskEvent) []byte { return ev.Email }),
	flagField("account.has_phone", func(ev *purposepb.RiskEvent) []byte { return ev.Phone }),
	textField("device.os", func(ev *purposepb.RiskEvent) string { return ev.DeviceOs }),
	textField("device.model", func(ev *purposepb.RiskEvent) string { return ev.DeviceModel }),
	textField("device.app_version", func(ev *purposepb.RiskEvent) string { return ev.AppVersion }),
	textField("device.user_agent", func(ev *purposepb.RiskEvent) string { return ev.UserAgent }),
	flagField("device.has_id", func(ev *purposepb.RiskEvent) []byte { return ev.Device }),
	flagField("network.has_ip", func(ev *purposepb.RiskEvent) []byte { return ev.Ip }),
	textField("network.carrier", func(ev *purposepb.RiskEvent) string { return ev.Carrier }),
}

// textField reads a text; an empty one is missing.
func textField(name string, read func(ev *purposepb.RiskEvent) string) field {
	return field{name: name, kind: textKind, read: func(ev *purposepb.RiskEvent) (value, bool) {
		s := read(ev)
		return value{text: s}, s != ""
	}}
}

// flagField tells whether the event names something.
func flagField(name string, read func(ev *purposepb.RiskEvent) []byte) field {
	return field{name: name, kind: flagKind, read: func(ev *purposepb.RiskEvent) (value, bool) {
		return value{flag: len(read(ev)) > 0}, true
	}}
}

// accountAge is the days from sign-up to the event; missing where the sign-up is not known, or said to be later than the event.
func accountAge(ev *purposepb.RiskEvent) (value, bool) {
	if ev.SignupTime == 0 || ev.SignupTime > ev.Time {
		return value{}, false
	}
	return value{number: float64(ev.Time-ev.SignupTime) / microsPerDay}, true
}

// decided tells whether events of the type get a decision.
func decided(t vocab.Type) bool {
	return t == vocab.Type_SIGN_UP || t == vocab.Type_LOGIN || t == vocab.Type_PAYMENT
}

// finite tells whether a number can be compared sensibly; one that cannot counts as missing.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
