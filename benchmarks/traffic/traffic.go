// Package traffic makes what people of a shop send: a catalogue, their acceptance, events, payments and requests for lists. Equal seeds make equal people.
package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"sluice/benchmarks/load"
	"sluice/systemtest/client"
)

// Shop is who comes and what there is.
type Shop struct {
	People, Items int

	next  atomic.Int64 // event ids
	draws []uint32     // items by zipf 1.1, drawn beforehand
}

// New makes a shop.
func New(people, items int) *Shop {
	s := &Shop{People: people, Items: items, draws: make([]uint32, 1<<20)}
	zipf := rand.NewZipf(random(0), 1.1, 1, uint64(items-1))
	for i := range s.draws {
		s.draws[i] = uint32(zipf.Uint64()) //nolint:gosec // fewer than 2^32 items
	}
	return s
}

func random(worker int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(worker)+1, 7)) //nolint:gosec // a reproducible load
}

// Person is the id of a person.
func Person(n int) string { return fmt.Sprintf("person-%07d", n) }

// Visitor is the id of a person who has no account, and comes for the first time.
func Visitor(n int) string { return fmt.Sprintf("visitor-%06d", n) }

// Catalogue is every item, in bodies for /v1/items.
func (s *Shop) Catalogue() (bodies [][]byte) {
	const batch = 10_000
	for from := 0; from < s.Items; from += batch {
		var body []byte
		for i := from; i < min(from+batch, s.Items); i++ {
			body = fmt.Appendf(body, `{"item_id":"item-%06d","title":"Thing %d of shelf %d","categories":[["Department %d","Shelf %d"]],"brand":"Brand %d","seller":"Seller %d","price":"%d.95","currency":"EUR"}`+"\n",
				i, i, i%1000, i%1000/50, i%1000, i%700, i%300, 1+i%90)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

// Acceptances are import bodies by which subjects from ("u:" a person, "a:" a visitor) accept the policy and allow recommendations.
func Acceptances(policy, prefix string, id func(int) string, n int) (bodies [][]byte) {
	const batch = 10_000
	for from := 0; from < n; from += batch {
		var body []byte
		for p := from; p < min(from+batch, n); p++ {
			body = fmt.Appendf(body, `{"subject":"%s%s","policy_version":%q,"jurisdiction":"CN","grants":["personalize"]}`+"\n", prefix, id(p), policy)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

// EventSize is the size of an event's JSON in bytes.
const EventSize = 412

const stampLayout = "2006-01-02T15:04:05.000000Z"

// template is an event in which everything that differs has a fixed width.
type template struct {
	text                                                        []byte
	id, stamp, sent, person, session, personAgain, item, device int // where it stands
}

const (
	idMark, personMark, sessionMark, itemMark = "000000000000", "0000000", "0000", "000000"
	stampMark                                 = stampLayout
)

func newTemplate(kind string) *template {
	t := new(template)
	text := `{"id":"e-` + idMark + `","type":"` + kind + `","time":"` + stampMark + `","sent_at":"` + stampMark + `","user_id":"person-` + personMark +
		`","session_id":"s-` + personMark + `-` + sessionMark + `","channel":"web","surface":"home","locale":"en-GB","items":[{"item_id":"item-` + itemMark +
		`","index":3,"price":"12.95"}],"device":{"id":"d-` + personMark + `","model":"Pixel 9","os":"Android 16"},"network":{"carrier":"`
	text += strings.Repeat("x", EventSize-len(text)-len(`"}}`)) + `"}}` + "\n"
	at := func(before string) int { return strings.Index(text, before) + len(before) }
	t.text = []byte(text)
	t.id, t.stamp, t.sent, t.person = at(`"id":"e-`), at(`"time":"`), at(`"sent_at":"`), at(`"user_id":"person-`)
	t.personAgain = at(`"session_id":"s-`)
	t.session, t.item, t.device = t.personAgain+len(personMark)+1, at(`"item_id":"item-`), at(`"device":{"id":"d-`)
	return t
}

// templates are events by how often they come.
var templates = func() (all []*template) {
	for _, kind := range []string{
		"view_item", "view_item", "view_item", "view_item", "view_item", "view_item", "select_item", "select_item", "add_to_cart", "add_to_wishlist",
	} {
		all = append(all, newTemplate(kind))
	}
	return all
}()

// digits writes a number over the digits that are there.
func digits(into []byte, n int) {
	for i := len(into) - 1; i >= 0; i-- {
		into[i] = byte('0' + n%10)
		n /= 10
	}
}

// scatter is a number without the regularity of n: a person does not always do the same.
func scatter(n int) int { return int(uint64(n) * 0x9e3779b97f4a7c15 >> 20) } //nolint:gosec // 44 bits

// event is what is told of one event.
type event struct {
	person, session, item int
	at                    time.Time
}

// append appends the event and a line break.
func (s *Shop) append(buf []byte, e event, stamp, sent []byte) []byte {
	n := int(s.next.Add(1))
	t, from := templates[scatter(n)%len(templates)], len(buf)
	buf = append(buf, t.text...)
	line := buf[from:]
	digits(line[t.id:t.id+len(idMark)], n)
	copy(line[t.stamp:], stamp)
	copy(line[t.sent:], sent)
	digits(line[t.person:t.person+len(personMark)], e.person)
	digits(line[t.personAgain:t.personAgain+len(personMark)], e.person)
	digits(line[t.session:t.session+len(sessionMark)], e.session)
	digits(line[t.item:t.item+len(itemMark)], e.item)
	digits(line[t.device:t.device+len(personMark)], e.person)
	return buf
}

// post fills a request with n events; next tells each. The body has always the same length.
func (s *Shop) post(n int, next func() event) load.Source {
	request := load.NewRequest(http.MethodPost, "/v1/events", client.ServerKey, make([]byte, n*(EventSize+1)))
	head := len(request) - n*(EventSize+1)
	return func() load.Request {
		sent := time.Now().UTC().AppendFormat(nil, stampLayout)
		buf, stamp, last := request[:head], sent, time.Time{}
		for range n {
			e := next()
			if !e.at.Equal(last) {
				stamp, last = e.at.AppendFormat(nil, stampLayout), e.at
			}
			buf = s.append(buf, e, stamp, sent)
		}
		return buf
	}
}

// Browsing is posts of n events each, which happened two seconds ago: anybody looks at anything, popular items more often.
func (s *Shop) Browsing(n int) func(worker int) load.Source {
	return s.BrowsingOf(n, 0, s.People)
}

// BrowsingOf is Browsing of some people only.
func (s *Shop) BrowsingOf(n, from, people int) func(worker int) load.Source {
	return func(worker int) load.Source {
		r, draw := random(worker), worker*7919
		var at time.Time
		left := 0
		return s.post(n, func() event {
			if left == 0 {
				at, left = time.Now().UTC().Add(-2*time.Second), n
			}
			left--
			draw++
			return event{person: from + r.IntN(people), session: 9000, item: int(s.draws[draw%len(s.draws)]), at: at}
		})
	}
}

// visitLength is how many events of a history belong to one visit.
const visitLength = 6

// Past is what people have behind them: so many events each, in visits of six, spread evenly from Oldest to Newest ago.
type Past struct {
	From, People   int // that many people from this one on; 0 People is everybody
	Each           int
	Oldest, Newest time.Duration
	FirstVisit     int // the number of the oldest visit: two pasts of the same people must not share one
}

// Histories is posts of n events each that give people a past. The load must end after HistoryPosts posts. Workers share the order, so that time goes on
// evenly for everybody.
func (s *Shop) Histories(n int, past Past) func(worker int) load.Source {
	var next atomic.Int64
	began := time.Now().UTC()
	people := past.people(s)
	total := people * int64(past.Each)
	visits := (past.Each + visitLength - 1) / visitLength
	return func(int) load.Source {
		var from, i int64
		left := 0
		return s.post(n, func() event {
			if left == 0 {
				from, i, left = next.Add(int64(n))-int64(n), 0, n
			}
			left--
			k := min(from+i, total-1)
			i++
			round, person := int(k/people), past.From+int(k%people)
			visit := round / visitLength
			age := past.Newest + (past.Oldest-past.Newest)*time.Duration(visits-visit)/time.Duration(visits)
			at := began.Add(-age).Add(time.Duration(round%visitLength) * time.Minute)
			return event{person: person, session: past.FirstVisit + visit, item: int(s.draws[scatter(int(k))%len(s.draws)]), at: at}
		})
	}
}

func (p Past) people(s *Shop) int64 {
	if p.People == 0 {
		return int64(s.People)
	}
	return int64(p.People)
}

// HistoryPosts is how many posts of n events Histories has.
func (s *Shop) HistoryPosts(n int, past Past) int64 {
	total := past.people(s) * int64(past.Each)
	return (total + int64(n) - 1) / int64(n)
}

// Lists is requests for the surface's list of some hundred thousands of the people, in an order that differs by worker.
func (s *Shop) Lists(surface string) func(worker int) load.Source {
	return Requests(func(n int) load.Request {
		return list(fmt.Sprintf(`{"surface":%q,"user_id":%q,"limit":20}`, surface, Person(n)))
	}, s.People)
}

// StrangersLists is requests for the surface's list of nobody.
func StrangersLists(surface string) func(worker int) load.Source {
	return Requests(func(int) load.Request { return list(fmt.Sprintf(`{"surface":%q,"limit":20}`, surface)) }, 1)
}

func list(body string) load.Request {
	return load.NewRequest(http.MethodPost, "/v1/recommendations", client.ServerKey, []byte(body))
}

// prebuilt bounds how many requests are kept ready.
const prebuilt = 100_000

// Requests makes up to n requests beforehand and draws from them.
func Requests(make func(n int) load.Request, n int) func(worker int) load.Source {
	all := []load.Request{}
	for i := range min(n, prebuilt) {
		all = append(all, make(i*max(1, n/prebuilt)))
	}
	return func(worker int) load.Source {
		r := random(worker)
		return func() load.Request { return all[r.IntN(len(all))] }
	}
}

// Payments is requests for decisions on payments of anybody, each with an id of its own.
func (s *Shop) Payments() func(worker int) load.Source {
	const mark = "pay-" + idMark
	body := `{"id":"` + mark + `","type":"payment","time":"` + stampMark + `","user_id":"person-` + personMark + `","channel":"web","order":{"order_id":"o-` + idMark +
		`","value":"19.90","currency":"EUR","payment_instrument":"tok_` + personMark + `"},"counterparty":{"id":"shop-000","kind":"seller"},"device":{"id":"d-` + personMark +
		`"},"network":{"ip":"192.0.2.7"}}`
	return func(worker int) load.Source {
		request := load.NewRequest(http.MethodPost, "/v1/decisions", client.ServerKey, []byte(body))
		text := request.Body()
		at := func(before string) int { return strings.Index(body, before) + len(before) }
		id, order, stamp := at(`"id":"pay-`), at(`"order_id":"o-`), at(`"time":"`)
		person, token, device := at(`"user_id":"person-`), at(`"payment_instrument":"tok_`), at(`"device":{"id":"d-`)
		shop := at(`"counterparty":{"id":"shop-`)
		r, now := random(worker), []byte(nil)
		return func() load.Request {
			n, p := int(s.next.Add(1)), r.IntN(s.People)
			digits(text[id:id+len(idMark)], n)
			digits(text[order:order+len(idMark)], n)
			now = time.Now().UTC().AppendFormat(now[:0], stampLayout)
			copy(text[stamp:], now)
			for _, at := range []int{person, token, device} {
				digits(text[at:at+len(personMark)], p)
			}
			digits(text[shop:shop+3], n%1000)
			return request
		}
	}
}
