package entity

import (
	"errors"
	"slices"

	"sluice/features/record"
	"sluice/features/spec"
	"sluice/features/statepb"
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

const (
	exactEntries  = 256 // events of one entity and day that are kept one by one; a day of more is folded
	newestEntries = 64  // events that a folded day still names
	dayMicros     = int64(24 * 60 * 60 * 1e6)
	hourMicros    = int64(60 * 60 * 1e6)
	minuteMicros  = int64(60 * 1e6)
	hoursOfDay    = 24
)

// entry is one event as one entity sees it.
type entry struct {
	time     int64  // Unix microseconds; within an entityDay, microseconds since the day began
	event    uint64 // first 8 bytes of the event's pseudonym
	value    int64  // micros
	hashes   [len(spec.Kinds)]uint64
	typ      vocab.Type
	hasValue bool
	currency currency // of the value
}

// currency is an ISO 4217 code, all 0 where none was told. Amounts of two currencies are never added or compared.
type currency [3]byte

func currencyOf(code string) (c currency) {
	copy(c[:], code)
	return c
}

// number is the currency as the changelog has it.
func (c currency) number() uint32 { return uint32(c[0])<<16 | uint32(c[1])<<8 | uint32(c[2]) }

func currencyAt(n uint32) currency { return currency{byte(n >> 16), byte(n >> 8), byte(n)} }

// entryOf is the entry of an event. The entity's own kind is left out: all its events share it.
func entryOf(ev *purposepb.RiskEvent, own spec.Kind) entry {
	e := entry{time: ev.Time, event: eventHash(ev), value: ev.Value, typ: ev.Type, hasValue: ev.HasValue}
	if ev.HasValue {
		e.currency = currencyOf(ev.Currency)
	}
	for i, k := range spec.Kinds {
		if k != own {
			e.hashes[i] = record.Hash64(pseudonymOf(ev, k))
		}
	}
	return e
}

// eventHash is the 64-bit form of the event's pseudonym.
func eventHash(ev *purposepb.RiskEvent) uint64 {
	if ev.EventHash != 0 {
		return ev.EventHash
	}
	return record.Hash64(ev.Event)
}

// pseudonymOf is the pseudonym of the event's entity of a kind, empty if it has none.
func pseudonymOf(ev *purposepb.RiskEvent, k spec.Kind) []byte {
	switch k {
	case spec.Account:
		return ev.Subject
	case spec.Device:
		return ev.Device
	case spec.IP:
		return ev.Ip
	case spec.Instrument:
		return ev.Instrument
	case spec.Counterparty:
		return ev.Counterparty
	}
	return nil
}

func (e *entry) compare(o *entry) int { return record.CompareEvents(e.time, e.event, o.time, o.event) }

// entityDay is one entity's day: its events one by one, or, folded, their number and the newest of them (time and event alone).
type entityDay struct {
	entries []entry // by (time, event)
	folded  uint64
}

// insert puts an entry in its place; false if it is there already.
func (d *entityDay) insert(e entry) bool {
	at, found := slices.BinarySearchFunc(d.entries, e, func(a, b entry) int { return a.compare(&b) })
	if found {
		return false
	}
	d.entries = slices.Insert(d.entries, at, e)
	return true
}

// stamp notes an event of a folded day.
func (d *entityDay) stamp(e entry) {
	d.folded++
	d.insert(entry{time: e.time, event: e.event})
	d.entries = slices.Delete(d.entries, 0, max(0, len(d.entries)-newestEntries))
}

// entityDayCodec writes days in columns. It belongs to one goroutine.
type entityDayCodec struct{ scratch statepb.EntityDay }

func (c *entityDayCodec) Encode(buf []byte, d *entityDay) ([]byte, error) {
	m := &c.scratch
	resetDay(m)
	m.Folded = d.folded
	last, valued := int64(0), 0
	for i := range d.entries {
		e := &d.entries[i]
		m.Events = append(m.Events, e.event)
		m.Times = append(m.Times, uint64(e.time-last))
		last = e.time
		if d.folded > 0 {
			continue
		}
		m.Types = append(m.Types, byte(e.typ))
		if e.hasValue {
			valued++
			m.Valued = append(m.Valued, uint32(i))
			m.Values = append(m.Values, e.value)
			m.Currencies = append(m.Currencies, e.currency.number())
		}
	}
	m.Currencies = shortened(m.Currencies)
	if valued == len(d.entries) {
		m.Valued = m.Valued[:0]
	}
	if d.folded == 0 {
		d.hashColumns(m)
	}
	return record.AppendMessage(buf, m)
}

// shortened is one number where all are the same, none where that is 0.
func shortened(numbers []uint32) []uint32 {
	if len(numbers) == 0 || slices.ContainsFunc(numbers, func(n uint32) bool { return n != numbers[0] }) {
		return numbers
	}
	if numbers[0] == 0 {
		return numbers[:0]
	}
	return numbers[:1]
}

func resetDay(m *statepb.EntityDay) {
	m.Events, m.Times, m.Types, m.Valued, m.Values, m.Hashes = m.Events[:0], m.Times[:0], m.Types[:0], m.Valued[:0], m.Values[:0], m.Hashes[:0]
	m.Currencies = m.Currencies[:0]
	for _, column := range columnsOf(m) {
		*column = (*column)[:0]
	}
}

// columnsOf are the message's columns of hashes in the order of kinds.
func columnsOf(m *statepb.EntityDay) [len(spec.Kinds)]*[]uint32 {
	return [...]*[]uint32{&m.Subjects, &m.Devices, &m.Ips, &m.Instruments, &m.Counterparties}
}

func (d *entityDay) hashColumns(m *statepb.EntityDay) {
	for i, column := range columnsOf(m) {
		used := false
		for j := range d.entries {
			place := 0
			if hash := d.entries[j].hashes[i]; hash != 0 {
				used = true
				if place = 1 + slices.Index(m.Hashes, hash); place == 0 {
					m.Hashes = append(m.Hashes, hash)
					place = len(m.Hashes)
				}
			}
			*column = append(*column, uint32(place))
		}
		if !used {
			*column = (*column)[:0]
		}
	}
}

func (c *entityDayCodec) Decode(data []byte) (*entityDay, error) {
	m := &c.scratch
	resetDay(m)
	m.Folded = 0
	if err := m.UnmarshalVT(data); err != nil {
		return nil, err
	}
	return dayOf(m)
}

var errDay = errors.New("the columns of an entity's day must have equal lengths")

func dayOf(m *statepb.EntityDay) (*entityDay, error) {
	n := len(m.Events)
	if len(m.Times) != n || m.Folded == 0 && len(m.Types) != n || len(m.Valued) > 0 && len(m.Valued) != len(m.Values) ||
		len(m.Valued) == 0 && len(m.Values) != 0 && len(m.Values) != n || len(m.Currencies) > 1 && len(m.Currencies) != len(m.Values) {
		return nil, errDay
	}
	d := &entityDay{entries: make([]entry, n), folded: m.Folded}
	var last int64
	for i := range d.entries {
		last += int64(m.Times[i])
		d.entries[i].time, d.entries[i].event = last, m.Events[i]
		if m.Folded == 0 {
			d.entries[i].typ = vocab.Type(m.Types[i])
		}
	}
	for i, value := range m.Values {
		at := i
		if len(m.Valued) > 0 {
			at = int(m.Valued[i])
		}
		if at >= n {
			return nil, errDay
		}
		d.entries[at].value, d.entries[at].hasValue = value, true
		switch len(m.Currencies) {
		case 0:
		case 1:
			d.entries[at].currency = currencyAt(m.Currencies[0])
		default:
			d.entries[at].currency = currencyAt(m.Currencies[i])
		}
	}
	return d, d.readHashes(m)
}

func (d *entityDay) readHashes(m *statepb.EntityDay) error {
	for i, column := range columnsOf(m) {
		if len(*column) != 0 && len(*column) != len(d.entries) {
			return errDay
		}
		for j, place := range *column {
			if int(place) > len(m.Hashes) {
				return errDay
			}
			if place > 0 {
				d.entries[j].hashes[i] = m.Hashes[place-1]
			}
		}
	}
	return nil
}
