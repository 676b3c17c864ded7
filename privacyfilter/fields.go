package privacyfilter

import "slices"

// streams are the purposes with an event type of their own (purposepb). Any other purpose is a decision only: nothing is projected for it.
var streams = []string{History, Trending, Personalize, Risk}

// holders lists the fields of an event, as CONTRACTS §1 names them, and the purposes whose type can hold each, in whatever form (most identifiers
// as a pseudonym). It is the upper bound of the register. The filter's tests project every field to every purpose and compare with it.
var holders = []struct {
	field    string
	purposes []string
}{
	{"id", streams},
	{"type", streams},
	{"time", streams},
	{"sent_at", nil}, // read by admission alone, as are jurisdiction and consent
	{"user_id", streams},
	{"anonymous_id", streams},
	{"session_id", []string{Personalize, Risk}},
	{"channel", []string{Risk}},
	{"surface", []string{Personalize}},
	{"recommendation_id", []string{Personalize}},
	{"locale", []string{Personalize, Trending}},
	{"jurisdiction", nil},
	{"items.item_id", []string{History, Personalize, Trending}},
	{"items.index", []string{History, Personalize, Trending}},
	{"items.quantity", []string{History, Personalize, Trending}},
	{"items.price", []string{History, Personalize, Trending}},
	{"search_term", []string{History, Personalize}},
	{"order.order_id", []string{Risk}},
	{"order.value", []string{Risk}},
	{"order.currency", []string{Risk}},
	{"order.payment_instrument", []string{Risk}},
	{"order.billing_country", []string{Risk}},
	{"order.shipping_country", []string{Risk}},
	{"order.shipping_address", []string{Risk}},
	{"counterparty.id", []string{Risk}},
	{"counterparty.kind", []string{Risk}},
	{"device.id", []string{Risk}},
	{"device.mac", []string{Risk}},
	{"device.imei", []string{Risk}},
	{"device.imsi", nil},
	{"device.idfa", nil},
	{"device.android_id", nil},
	{"device.oaid", nil},
	{"device.model", []string{Risk}},
	{"device.os", []string{Risk}},
	{"device.app_version", []string{Risk}},
	{"device.user_agent", []string{Risk}},
	{"device.apps", nil},
	{"network.ip", []string{Risk}},
	{"network.carrier", []string{Risk}},
	{"network.wifi", nil},
	{"network.cell", nil},
	{"account.email", []string{Risk}},
	{"account.phone", []string{Risk}},
	{"account.signup_time", []string{Risk}},
	{"account.status", []string{Risk}},
	{"account.failure_reason", []string{Risk}},
	{"consent.revision", nil},
	{"consent.gpc", nil},
	{"consent.denied", nil},
}

// envelope are the fields without which no purpose type makes sense: whose event it is, which one, what and when.
var envelope = []string{"id", "type", "time", "user_id", "anonymous_id"}

// Fields lists the fields of an event that a register may name.
func Fields() []string {
	names := make([]string, len(holders))
	for i, h := range holders {
		names[i] = h.field
	}
	return names
}

// CanHold tells whether the purpose's type can hold the field at all; known is false for what is no field of an event.
func CanHold(purpose, field string) (can, known bool) {
	for _, h := range holders {
		if h.field == field {
			return slices.Contains(h.purposes, purpose), true
		}
	}
	return false, false
}
