package crash

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// person is a simulated one. One goroutine makes all that a person does, so that their order is known.
type person struct {
	number   int
	user     bool          // signed in; else a visitor
	skew     time.Duration // error of the client's clock
	revision string        // newest that the client knows
	events   []status      // by sequence number

	// epoch is odd while an opt-out is acknowledged and nothing has been asked for since. Only those who toggle have one.
	epoch   atomic.Int64
	denials int // opt-outs that were acknowledged
}

// status is what is known of one event from outside.
type status uint8

const (
	acked   status = 1 << iota // the collector said that it is durable
	refused                    // the collector said that nobody may use it
	must                       // captured and acknowledged under an acknowledged permission: personalize must have it
	mustNot                    // captured and acknowledged under an acknowledged opt-out: personalize must not have it
)

func (p *person) id() string { return "p" + strconv.Itoa(p.number) }

// subject is the person as the log knows them.
func (p *person) subject() string {
	if p.user {
		return "u:" + p.id()
	}
	return "a:" + p.id()
}

// path is where their settings are.
func (p *person) path(rest string) string {
	if p.user {
		return "/v1/users/" + p.id() + rest
	}
	return "/v1/visitors/" + p.id() + rest
}

// eventID names an event by its person and place among their events.
func eventID(person, sequence int) string { return fmt.Sprintf("e.%d.%d", person, sequence) }

// parseEventID is the inverse of eventID; other ids (of probes) are not ok.
func parseEventID(id string) (person, sequence int, ok bool) {
	rest, ok := strings.CutPrefix(id, "e.")
	if !ok {
		return 0, 0, false
	}
	a, b, ok := strings.Cut(rest, ".")
	person, err1 := strconv.Atoi(a)
	sequence, err2 := strconv.Atoi(b)
	return person, sequence, ok && err1 == nil && err2 == nil
}

// event is one that is to be sent: its JSON but for the time of sending, which is that of each attempt.
type event struct {
	of       *person
	sequence int
	deniable bool   // only personalize takes it, so a collector may deny it
	text     []byte // without sent_at and the closing brace
}

// appendTo writes the event as it is sent now.
func (e *event) appendTo(buf []byte, now time.Time) []byte {
	buf = append(buf, e.text...)
	buf = append(buf, `,"sent_at":"`...)
	buf = now.Add(e.of.skew).UTC().AppendFormat(buf, time.RFC3339Nano)
	return append(buf, "\"}\n"...)
}

// mark notes what became of the event.
func (e *event) mark(s status) { e.of.events[e.sequence] |= s }

// weighted is an event type and how often it comes.
type weighted struct {
	name   string
	weight int
}

// browsing is what a page may send; shopping also what needs a server key.
var (
	browsing = []weighted{
		{"view_item", 40},
		{"select_item", 8},
		{"search", 8},
		{"view_item_list", 5},
		{"add_to_cart", 10},
		{"remove_from_cart", 3},
		{"add_to_wishlist", 4},
		{"page_view", 4},
		{"share", 1},
	}
	shopping = append([]weighted{
		{"purchase", 5}, {"payment", 4}, {"login", 3}, {"login_failed", 1}, {"sign_up", 1}, {"refund", 1}, {"password_change", 1},
	}, browsing...)
)

func pickType(random *rand.Rand, from []weighted) string {
	total := 0
	for _, w := range from {
		total += w.weight
	}
	at := random.IntN(total)
	for _, w := range from {
		if at -= w.weight; at < 0 {
			return w.name
		}
	}
	return from[0].name
}

// items is how many the shop has.
const items = 150

// capture makes the person's next event, captured a little before it is first sent.
func (p *person) capture(random *rand.Rand, kind string, now time.Time) *event {
	e := &event{of: p, sequence: len(p.events), deniable: kind == "view_item_list" || kind == "remove_from_cart"}
	p.events = append(p.events, 0)
	who := "anonymous_id"
	if p.user {
		who = "user_id"
	}
	captured := now.Add(p.skew).UTC().Format(time.RFC3339Nano)
	b := fmt.Appendf(nil, `{"id":"%s","type":"%s","time":"%s","%s":"%s","channel":"web","session_id":"s%d","locale":"en"`,
		eventID(p.number, e.sequence), kind, captured, who, p.id(), e.sequence/30)
	switch kind {
	case "search":
		b = fmt.Appendf(b, `,"search_term":"lamp %d"`, random.IntN(20))
	case "payment", "purchase", "refund":
		b = fmt.Appendf(b, `,"order":{"order_id":"o%d-%d","value":"%d.50","currency":"EUR","payment_instrument":"card-%d"},"counterparty":{"id":"seller-%d","kind":"seller"}`,
			p.number, e.sequence, 1+random.IntN(200), p.number%97, random.IntN(20))
	}
	switch kind {
	case "payment", "login", "login_failed", "sign_up":
		b = fmt.Appendf(b, `,"device":{"id":"d-%d"},"network":{"ip":"192.0.2.%d"}`, p.number%53, p.number%200)
	}
	if takesItems(kind) {
		b = append(b, `,"items":[`...)
		for i := range 1 + random.IntN(2) {
			if i > 0 {
				b = append(b, ',')
			}
			n := random.IntN(items)
			b = fmt.Appendf(b, `{"item_id":"item-%d","index":%d,"quantity":1,"price":"%d.95"}`, n*n/items, i, 1+n) // low numbers more often
		}
		b = append(b, ']')
	}
	if p.revision != "" && random.IntN(10) < 7 {
		b = fmt.Appendf(b, `,"consent":{"revision":"%s","gpc":%t}`, p.revision, random.IntN(40) == 0)
	}
	e.text = b
	return e
}

// captureKnowing makes an item view that names the newest revision.
func (p *person) captureKnowing(random *rand.Rand) *event {
	revision := p.revision
	p.revision = ""
	e := p.capture(random, "view_item", time.Now())
	p.revision = revision
	e.text = fmt.Appendf(e.text, `,"consent":{"revision":"%s"}`, revision)
	return e
}

func takesItems(kind string) bool {
	switch kind {
	case "view_item", "select_item", "view_item_list", "add_to_cart", "remove_from_cart", "add_to_wishlist", "purchase":
		return true
	default:
		return false
	}
}
