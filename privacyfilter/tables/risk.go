package tables

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/warehouse"
	"sluice/privacyfilter/purposepb"
)

func riskSource(keep time.Duration) *warehouse.Source {
	return &warehouse.Source{Topic: topics.Risk, Decode: decodeRisk, Tables: []*warehouse.Table{{
		Name: "risk_events",
		Doc: "What fraud control sees: a legal duty, so that no choice deletes it before its time. What was decided about an event is in decisions, under the same " +
			"event pseudonym.",
		Columns: []warehouse.Column{
			{Name: "subject", Kind: warehouse.Bytes, Doc: "Whose event it is: fraud control's pseudonym of the account, or of the device that has none."},
			{Name: "event", Kind: warehouse.Bytes, Doc: "The event: fraud control's pseudonym of its id."},
			{Name: "session", Kind: warehouse.Bytes, Doc: "The session. It and all identifiers below are fraud control's pseudonyms; empty = not told."},
			{Name: "type", Kind: warehouse.String, Doc: docType},
			{Name: "time", Kind: warehouse.Time, Doc: docTime},
			{Name: "channel", Kind: warehouse.String, Doc: "`web`, `app`, `applet` or `server`; empty = not told."},
			{Name: "order", Kind: warehouse.Bytes, Doc: "The order."},
			{Name: "value", Kind: warehouse.Int64, Doc: "The order's value in micros of its currency."},
			{Name: "has_value", Kind: warehouse.Bool, Doc: "Whether a value was told: 0 may be one."},
			{Name: "currency", Kind: warehouse.String, Doc: "The order's currency, ISO 4217."},
			{Name: "instrument", Kind: warehouse.Bytes, Doc: "The card or account that pays."},
			{Name: "billing_country", Kind: warehouse.String, Doc: "ISO 3166."},
			{Name: "shipping_country", Kind: warehouse.String, Doc: "ISO 3166."},
			{Name: "shipping_address", Kind: warehouse.Bytes, Doc: "The address: equal for equal spellings only."},
			{Name: "counterparty", Kind: warehouse.Bytes, Doc: "Who is paid."},
			{Name: "counterparty_kind", Kind: warehouse.String, Doc: "`seller`, `terminal` or `payee`."},
			{Name: "device", Kind: warehouse.Bytes, Doc: "The device."},
			{Name: "ip", Kind: warehouse.Bytes, Doc: "The network address."},
			{Name: "device_model", Kind: warehouse.String, Doc: "The device's model."},
			{Name: "device_os", Kind: warehouse.String, Doc: "Its operating system."},
			{Name: "app_version", Kind: warehouse.String, Doc: "Version of the app."},
			{Name: "email_domain", Kind: warehouse.String, Doc: "What follows the @ of the account's address."},
			{Name: "email", Kind: warehouse.Bytes, Doc: "The account's address, in lower case."},
			{Name: "phone", Kind: warehouse.Bytes, Doc: "The account's telephone number."},
			{Name: "signup_time", Kind: warehouse.Time, Doc: "When the account was made; 1970-01-01 = not told."},
			{Name: "account_status", Kind: warehouse.String, Doc: "The account's state in the shop's own words."},
			{Name: "failure_reason", Kind: warehouse.String, Doc: "Why a login failed, in the shop's own words."},
			{Name: "user_agent", Kind: warehouse.String, Doc: "What the browser says of itself."},
			{Name: "carrier", Kind: warehouse.String, Doc: "The mobile network."},
			{Name: "mac", Kind: warehouse.Bytes, Doc: "The device's MAC address."},
			{Name: "imei", Kind: warehouse.Bytes, Doc: "The device's IMEI."},
			{Name: "event_hash", Kind: warehouse.Uint64, Doc: "The first 8 bytes of `event`, big endian: how the windows of features remember it."},
		},
		Time: "time", Keep: keep, Key: []string{"subject", "event"}, Subject: "subject", Event: "event",
	}}}
}

// riskDecoder is the memory of one record.
type riskDecoder struct {
	record purposepb.RiskRecord
	event  purposepb.RiskEvent
	ids    [13 * idSize]byte
}

var riskDecoders = sync.Pool{New: func() any { return new(riskDecoder) }}

func decodeRisk(rec *stream.Record, out *warehouse.Rows) error {
	d := riskDecoders.Get().(*riskDecoder) //nolint:forcetypeassert // the pool's New makes nothing else
	defer riskDecoders.Put(d)
	e := &d.event
	e.Reset()
	lend(d.ids[:], &e.Subject, &e.Event, &e.Session, &e.Order, &e.Instrument, &e.ShippingAddress, &e.Counterparty, &e.Device, &e.Ip, &e.Email, &e.Phone, &e.Mac, &e.Imei)
	d.record.Event = e
	if err := d.record.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("a RiskRecord expected: %w", err)
	}
	if len(e.Subject) == 0 {
		return errors.New("an event expected")
	}
	b := out.Batches[0]
	b.Bytes(e.Subject)
	b.Bytes(e.Event)
	b.Bytes(e.Session)
	b.String(e.Type.Name())
	b.Int(e.Time)
	b.String(e.Channel.Name())
	d.putOrder(b)
	d.putDevice(b)
	b.Uint(e.EventHash)
	return b.End()
}

// putOrder appends the columns from order to counterparty_kind.
func (d *riskDecoder) putOrder(b *warehouse.Batch) {
	e := &d.event
	b.Bytes(e.Order)
	b.Int(e.Value)
	b.Bool(e.HasValue)
	b.String(e.Currency)
	b.Bytes(e.Instrument)
	b.String(e.BillingCountry)
	b.String(e.ShippingCountry)
	b.Bytes(e.ShippingAddress)
	b.Bytes(e.Counterparty)
	b.String(e.CounterpartyKind.Name())
}

// putDevice appends the columns from device to imei.
func (d *riskDecoder) putDevice(b *warehouse.Batch) {
	e := &d.event
	b.Bytes(e.Device)
	b.Bytes(e.Ip)
	b.String(e.DeviceModel)
	b.String(e.DeviceOs)
	b.String(e.AppVersion)
	b.String(e.EmailDomain)
	b.Bytes(e.Email)
	b.Bytes(e.Phone)
	b.Int(e.SignupTime)
	b.String(e.AccountStatus)
	b.String(e.FailureReason)
	b.String(e.UserAgent)
	b.String(e.Carrier)
	b.Bytes(e.Mac)
	b.Bytes(e.Imei)
}
