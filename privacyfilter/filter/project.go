package filter

import (
	"strings"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/purposepb"
)

// Projector turns an event into the types of the purposes: only the fields that the register collects for each, every identifier as that purpose's own
// pseudonym. It is safe for concurrent use.
type Projector struct {
	keys *pseudonym.Keys
	of   [len(streamed)]collected
}

// collected tells which of the fields that not every purpose has are collected for one.
type collected struct {
	session, channel, surface, recommendation, locale, search        bool
	item, index, quantity, price                                     bool
	order, value, currency, instrument, billing, shipping, address   bool
	counterparty, counterpartyKind                                   bool
	device, mac, imei, model, os, appVersion, userAgent, ip, carrier bool
	email, phone, signupTime, status, failureReason                  bool
}

// NewProjector compiles the register's fields.
func NewProjector(reg *privacyfilter.Register, keys *pseudonym.Keys) *Projector {
	p := &Projector{keys: keys}
	for i, purpose := range streamed {
		holds := func(field string) bool { return reg.Holds(purpose, field) }
		p.of[i] = collected{
			session: holds("session_id"), channel: holds("channel"), surface: holds("surface"), recommendation: holds("recommendation_id"),
			locale: holds("locale"), search: holds("search_term"),
			item: holds("items.item_id"), index: holds("items.index"), quantity: holds("items.quantity"), price: holds("items.price"),
			order: holds("order.order_id"), value: holds("order.value"), currency: holds("order.currency"), instrument: holds("order.payment_instrument"),
			billing: holds("order.billing_country"), shipping: holds("order.shipping_country"), address: holds("order.shipping_address"),
			counterparty: holds("counterparty.id"), counterpartyKind: holds("counterparty.kind"),
			device: holds("device.id"), mac: holds("device.mac"), imei: holds("device.imei"), model: holds("device.model"), os: holds("device.os"),
			appVersion: holds("device.app_version"), userAgent: holds("device.user_agent"), ip: holds("network.ip"), carrier: holds("network.carrier"),
			email: holds("account.email"), phone: holds("account.phone"), signupTime: holds("account.signup_time"), status: holds("account.status"),
			failureReason: holds("account.failure_reason"),
		}
	}
	return p
}

// who is whose event it is.
type who struct {
	subject     string
	incarnation uint32
}

// Risk is what fraud control may see of the event: exactly what the filter emits for it, in the subject's first incarnation.
func (p *Projector) Risk(ev *eventpb.Event, receivedAt int64) *purposepb.RiskEvent {
	out := new(purposepb.RiskEvent)
	p.risk(out, new(arena), ev, receivedAt, who{subject: ingest.Subject(ev)})
	return out
}

// history fills out with what the history may show. It reads a's memory until a is reset, as do the others.
func (p *Projector) history(out *purposepb.HistoryEvent, a *arena, ev *eventpb.Event, received int64, w who, floor privacyfilter.Revision) {
	c := &p.of[history]
	out.Subject = a.keep(p.keys.Subject(privacyfilter.History, w.subject, w.incarnation))
	out.Event = p.keys.HistoryEvent(w.subject, ev.Id)
	out.Type, out.Time = ev.Type, min(ev.Time, received)
	out.Items = c.items(a, ev.Items)
	out.SearchTerm = when(c.search, ev.SearchTerm)
	out.Floor = p.keys.Floor(privacyfilter.History, w.subject, floor)
}

func (p *Projector) personal(out *purposepb.PersonalEvent, a *arena, ev *eventpb.Event, received int64, w who, floor privacyfilter.Revision) {
	c := &p.of[personalize]
	out.Subject = a.keep(p.keys.Subject(privacyfilter.Personalize, w.subject, w.incarnation))
	out.Event = a.keep(p.keys.Event(privacyfilter.Personalize, w.subject, ev.Id))
	out.Session = p.identifier(a, c.session, privacyfilter.Personalize, pseudonym.Session, ev.SessionId)
	out.Type, out.Time = ev.Type, min(ev.Time, received)
	out.Items = c.items(a, ev.Items)
	out.SearchTerm = when(c.search, ev.SearchTerm)
	out.Surface = when(c.surface, ev.Surface)
	out.Recommendation = p.identifier(a, c.recommendation, privacyfilter.Personalize, pseudonym.Recommendation, ev.RecommendationId)
	out.Locale = when(c.locale, ev.Locale)
	out.Floor = p.keys.Floor(privacyfilter.Personalize, w.subject, floor)
}

func (p *Projector) trending(out *purposepb.TrendingEvent, a *arena, ev *eventpb.Event, received int64, w who, windowMicros int64) {
	c := &p.of[trending]
	out.Type, out.Time = ev.Type, min(ev.Time, received)
	out.Window = windowOf(out.Time, windowMicros)
	out.Contributor = a.keep(p.keys.Contributor(w.subject, w.incarnation, out.Window))
	out.Event = a.keep(p.keys.Event(privacyfilter.Trending, w.subject, ev.Id))
	out.Items = c.items(a, ev.Items)
	out.Locale = when(c.locale, ev.Locale)
}

// windowOf is the number of the window, since 1970, that holds a time.
func windowOf(micros, windowMicros int64) int64 {
	n := micros / windowMicros
	if micros%windowMicros < 0 {
		n--
	}
	return n
}

func (p *Projector) risk(out *purposepb.RiskEvent, a *arena, ev *eventpb.Event, received int64, w who) {
	c := &p.of[risk]
	event := p.keys.Event(privacyfilter.Risk, w.subject, ev.Id)
	out.Subject = a.keep(p.keys.Subject(privacyfilter.Risk, w.subject, w.incarnation))
	out.Event, out.EventHash = a.keep(event), pseudonym.Hash(event[:])
	out.Session = p.riskID(a, c.session, pseudonym.Session, ev.SessionId)
	out.Type, out.Time = ev.Type, min(ev.Time, received)
	out.Channel = when(c.channel, ev.Channel)
	p.riskOrder(out, a, c, ev)
	p.riskDevice(out, a, c, ev)
	p.riskAccount(out, a, c, ev.Account)
}

func (p *Projector) riskOrder(out *purposepb.RiskEvent, a *arena, c *collected, ev *eventpb.Event) {
	if o := ev.Order; o != nil {
		out.Order = p.riskID(a, c.order, pseudonym.Order, o.OrderId)
		out.Value, out.HasValue = when(c.value, o.Value), c.value && o.HasValue
		out.Currency = when(c.currency, o.Currency)
		out.Instrument = p.riskID(a, c.instrument, pseudonym.Instrument, o.PaymentInstrument)
		out.BillingCountry, out.ShippingCountry = when(c.billing, o.BillingCountry), when(c.shipping, o.ShippingCountry)
		out.ShippingAddress = p.riskID(a, c.address, pseudonym.Address, o.ShippingAddress)
	}
	if to := ev.Counterparty; to != nil {
		out.Counterparty = p.riskID(a, c.counterparty, pseudonym.Counterparty, to.Id)
		out.CounterpartyKind = when(c.counterpartyKind, to.Kind)
	}
}

func (p *Projector) riskDevice(out *purposepb.RiskEvent, a *arena, c *collected, ev *eventpb.Event) {
	if d := ev.Device; d != nil {
		out.Device = p.riskID(a, c.device, pseudonym.Device, d.Id)
		out.Mac = p.riskID(a, c.mac, pseudonym.MAC, d.Mac)
		out.Imei = p.riskID(a, c.imei, pseudonym.IMEI, d.Imei)
		out.DeviceModel, out.DeviceOs = when(c.model, d.Model), when(c.os, d.Os)
		out.AppVersion, out.UserAgent = when(c.appVersion, d.AppVersion), when(c.userAgent, d.UserAgent)
	}
	if n := ev.Network; n != nil {
		out.Ip = p.riskID(a, c.ip, pseudonym.IP, n.Ip)
		out.Carrier = when(c.carrier, n.Carrier)
	}
}

func (p *Projector) riskAccount(out *purposepb.RiskEvent, a *arena, c *collected, from *eventpb.Account) {
	if from == nil {
		return
	}
	if c.email {
		address := strings.ToLower(strings.TrimSpace(from.Email))
		out.Email = p.riskID(a, true, pseudonym.Email, address)
		_, out.EmailDomain, _ = strings.Cut(address, "@")
	}
	out.Phone = p.riskID(a, c.phone, pseudonym.Phone, from.Phone)
	out.SignupTime = when(c.signupTime, from.SignupTime)
	out.AccountStatus, out.FailureReason = when(c.status, from.Status), when(c.failureReason, from.FailureReason)
}

func (p *Projector) riskID(a *arena, held bool, kind, value string) []byte {
	return p.identifier(a, held, privacyfilter.Risk, kind, value)
}

// identifier is the purpose's pseudonym of a value, nil if there is none or the purpose may not have it.
func (p *Projector) identifier(a *arena, held bool, purpose, kind, value string) []byte {
	if !held || value == "" {
		return nil
	}
	return a.keep(p.keys.Identifier(purpose, kind, value))
}

// items are the lines with only what is collected; none without their item ids.
func (c *collected) items(a *arena, lines []*vocab.Item) []*vocab.Item {
	if !c.item || len(lines) == 0 {
		return nil
	}
	if c.index && c.quantity && c.price {
		return lines
	}
	from := len(a.lines)
	for _, l := range lines {
		line := a.line()
		line.ItemId, line.Index = l.ItemId, when(c.index, l.Index)
		line.Quantity, line.Price = when(c.quantity, l.Quantity), when(c.price, l.Price)
		a.lines = append(a.lines, line)
	}
	return a.lines[from:len(a.lines):len(a.lines)]
}

// when is v if it is held, else its zero value.
func when[T any](held bool, v T) T {
	if held {
		return v
	}
	var none T
	return none
}

// arena is the memory of one event's projections.
type arena struct {
	sums  []byte
	items []vocab.Item
	lines []*vocab.Item // of items
}

// keep is the pseudonym as bytes that stay until the arena is reset.
func (a *arena) keep(sum [pseudonym.Size]byte) []byte {
	from := len(a.sums)
	a.sums = append(a.sums, sum[:]...)
	return a.sums[from:len(a.sums):len(a.sums)]
}

// line is an empty item that stays until the arena is reset.
func (a *arena) line() *vocab.Item {
	if n := len(a.items); n < cap(a.items) {
		a.items = a.items[:n+1]
	} else {
		a.items = append(a.items, vocab.Item{}) // who holds lines of the old array keeps it
	}
	line := &a.items[len(a.items)-1]
	line.Reset()
	return line
}

// reset gives the memory to the next event.
func (a *arena) reset() { a.sums, a.items, a.lines = a.sums[:0], a.items[:0], a.lines[:0] }
