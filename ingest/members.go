package ingest

import (
	"sluice/internal/vocab"
)

// The fields of an event, in the order in which CONTRACTS §1 lists them and clients mostly write them.
var eventMembers = []member{
	{"id", func(d *decoder) { d.text(&d.ev.Id) }},
	{"type", func(d *decoder) { d.eventType() }},
	{"time", func(d *decoder) { d.hasTime = d.time(&d.ev.Time) }},
	{"sent_at", func(d *decoder) { d.time(&d.ev.SentAt) }},
	{"user_id", func(d *decoder) { d.text(&d.ev.UserId) }},
	{"anonymous_id", func(d *decoder) { d.text(&d.ev.AnonymousId) }},
	{"session_id", func(d *decoder) { d.text(&d.ev.SessionId) }},
	{"channel", func(d *decoder) { d.channel() }},
	{"surface", func(d *decoder) { d.text(&d.ev.Surface) }},
	{"recommendation_id", func(d *decoder) { d.text(&d.ev.RecommendationId) }},
	{"locale", func(d *decoder) { d.text(&d.ev.Locale) }},
	{"jurisdiction", func(d *decoder) { d.text(&d.ev.Jurisdiction) }},
	{"items", func(d *decoder) { d.lines() }},
	{"search_term", func(d *decoder) { d.text(&d.ev.SearchTerm) }},
	{"order", func(d *decoder) { nested(d, &d.ev.Order, &d.order, orderMembers) }},
	{"counterparty", func(d *decoder) { nested(d, &d.ev.Counterparty, &d.counterparty, counterpartyMembers) }},
	{"device", func(d *decoder) { nested(d, &d.ev.Device, &d.device, deviceMembers) }},
	{"network", func(d *decoder) { nested(d, &d.ev.Network, &d.network, networkMembers) }},
	{"account", func(d *decoder) { nested(d, &d.ev.Account, &d.account, accountMembers) }},
	{"consent", func(d *decoder) { nested(d, &d.ev.Consent, &d.consent, consentMembers) }},
}

var lineMembers = []member{
	{"item_id", func(d *decoder) { d.text(&d.line.ItemId) }},
	{"index", func(d *decoder) { d.count(&d.line.Index) }},
	{"quantity", func(d *decoder) { d.count(&d.line.Quantity) }},
	{"price", func(d *decoder) { d.money(&d.line.Price) }},
}

var orderMembers = []member{
	{"order_id", func(d *decoder) { d.text(&d.order.OrderId) }},
	{"value", func(d *decoder) { d.order.HasValue = d.money(&d.order.Value) }},
	{"currency", func(d *decoder) { d.text(&d.order.Currency) }},
	{"payment_instrument", func(d *decoder) { d.text(&d.order.PaymentInstrument) }},
	{"billing_country", func(d *decoder) { d.text(&d.order.BillingCountry) }},
	{"shipping_country", func(d *decoder) { d.text(&d.order.ShippingCountry) }},
	{"shipping_address", func(d *decoder) { d.text(&d.order.ShippingAddress) }},
}

var counterpartyMembers = []member{
	{"id", func(d *decoder) { d.text(&d.counterparty.Id) }},
	{"kind", func(d *decoder) { d.counterpartyKind() }},
}

var deviceMembers = []member{
	{"id", func(d *decoder) { d.text(&d.device.Id) }},
	{"mac", func(d *decoder) { d.text(&d.device.Mac) }},
	{"imei", func(d *decoder) { d.text(&d.device.Imei) }},
	{"imsi", func(d *decoder) { d.text(&d.device.Imsi) }},
	{"idfa", func(d *decoder) { d.text(&d.device.Idfa) }},
	{"android_id", func(d *decoder) { d.text(&d.device.AndroidId) }},
	{"oaid", func(d *decoder) { d.text(&d.device.Oaid) }},
	{"model", func(d *decoder) { d.text(&d.device.Model) }},
	{"os", func(d *decoder) { d.text(&d.device.Os) }},
	{"app_version", func(d *decoder) { d.text(&d.device.AppVersion) }},
	{"user_agent", func(d *decoder) { d.text(&d.device.UserAgent) }},
	{"apps", func(d *decoder) { d.strings(&d.device.Apps) }},
}

var networkMembers = []member{
	{"ip", func(d *decoder) { d.text(&d.network.Ip) }},
	{"carrier", func(d *decoder) { d.text(&d.network.Carrier) }},
	{"wifi", func(d *decoder) { d.text(&d.network.Wifi) }},
	{"cell", func(d *decoder) { d.text(&d.network.Cell) }},
}

var accountMembers = []member{
	{"email", func(d *decoder) { d.text(&d.account.Email) }},
	{"phone", func(d *decoder) { d.text(&d.account.Phone) }},
	{"signup_time", func(d *decoder) { d.time(&d.account.SignupTime) }},
	{"status", func(d *decoder) { d.text(&d.account.Status) }},
	{"failure_reason", func(d *decoder) { d.text(&d.account.FailureReason) }},
}

var consentMembers = []member{
	{"revision", func(d *decoder) { d.text(&d.consent.Revision) }},
	{"gpc", func(d *decoder) { d.boolean(&d.consent.Gpc) }},
	{"denied", func(d *decoder) { d.strings(&d.consent.Denied) }},
}

// nested reads an object into a new message, which is at hand meanwhile.
func nested[M any](d *decoder, into, atHand **M, members []member) {
	if !d.opens('{', detailObject) {
		return
	}
	*into = new(M)
	*atHand = *into
	d.object(members)
}

// lines reads the items.
func (d *decoder) lines() {
	if !d.opens('[', detailItems) {
		return
	}
	d.ev.Items = nil
	d.array(func(d *decoder) {
		if d.next() != '{' {
			d.wrongType(detailObject)
			return
		}
		d.line = new(vocab.Item)
		d.ev.Items = append(d.ev.Items, d.line)
		d.object(lineMembers)
	})
}

func (d *decoder) eventType() {
	var name string
	if !d.text(&name) {
		return
	}
	var known bool
	if d.ev.Type, known = vocab.ParseType(name); !known {
		d.fail(CodeUnknownType, detailType)
	}
}

func (d *decoder) channel() {
	var name string
	if !d.text(&name) {
		return
	}
	var known bool
	if d.ev.Channel, known = vocab.ParseChannel(name); !known {
		d.fail(CodeUnknownChannel, detailChannel)
	}
}

func (d *decoder) counterpartyKind() {
	var name string
	if !d.text(&name) {
		return
	}
	var known bool
	if d.counterparty.Kind, known = vocab.ParseCounterpartyKind(name); !known {
		d.fail(CodeUnknownKind, detailKind)
	}
}
