package ingest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"sluice/ingest/eventpb"
	"sluice/internal/catalog"
	"sluice/internal/vocab"
)

// whole has every field that an event can have.
const whole = `{
	"id":"e1","type":"purchase","time":"2026-03-01T10:00:00.5+01:00","sent_at":"2026-03-01T09:00:01Z","user_id":"u1","anonymous_id":"a1","session_id":"s1",
	"channel":"web","surface":"home","recommendation_id":"r1","locale":"de-AT","jurisdiction":"EU",
	"items":[{"item_id":"i1","index":0,"quantity":2,"price":"19.99"},{"item_id":"i2","index":3,"price":5e-1}],
	"search_term":"gr\u00fcne \"L\u00e4mpchen\" \ud83d\ude00",
	"order":{"order_id":"o1","value":40.480000,"currency":"EUR","payment_instrument":"p1","billing_country":"AT","shipping_country":"DE","shipping_address":"Hauptstraße 1"},
	"counterparty":{"id":"c1","kind":"seller"},
	"device":{"id":"d1","mac":"m","imei":"i","imsi":"s","idfa":"f","android_id":"n","oaid":"o","model":"x","os":"y","app_version":"1","user_agent":"z","apps":["p","q"]},
	"network":{"ip":"192.0.2.1","carrier":"t","wifi":"w","cell":"c"},
	"account":{"email":"e","phone":"h","signup_time":"2020-02-29T23:59:59Z","status":"active","failure_reason":"r"},
	"consent":{"revision":"1-5-4711","gpc":true,"denied":["personalize"]}}`

func wholeEvent() *Event {
	return &Event{
		Id: "e1", Type: vocab.Type_PURCHASE, Time: micros("2026-03-01T09:00:00.5Z"), SentAt: micros("2026-03-01T09:00:01Z"), UserId: "u1", AnonymousId: "a1", SessionId: "s1",
		Channel: vocab.Channel_WEB, Surface: "home", RecommendationId: "r1", Locale: "de-AT", Jurisdiction: "EU",
		Items:      []*vocab.Item{{ItemId: "i1", Quantity: 2_000_000, Price: 19_990_000}, {ItemId: "i2", Index: 3, Price: 500_000}},
		SearchTerm: `grüne "Lämpchen" 😀`,
		Order: &eventpb.Order{
			OrderId: "o1", Value: 40_480_000, HasValue: true, Currency: "EUR", PaymentInstrument: "p1", BillingCountry: "AT", ShippingCountry: "DE", ShippingAddress: "Hauptstraße 1",
		},
		Counterparty: &eventpb.Counterparty{Id: "c1", Kind: vocab.CounterpartyKind_SELLER},
		Device: &eventpb.Device{
			Id: "d1", Mac: "m", Imei: "i", Imsi: "s", Idfa: "f", AndroidId: "n", Oaid: "o", Model: "x", Os: "y", AppVersion: "1", UserAgent: "z", Apps: []string{"p", "q"},
		},
		Network: &eventpb.Network{Ip: "192.0.2.1", Carrier: "t", Wifi: "w", Cell: "c"},
		Account: &eventpb.Account{Email: "e", Phone: "h", SignupTime: micros("2020-02-29T23:59:59Z"), Status: "active", FailureReason: "r"},
		Consent: &eventpb.Consent{Revision: "1-5-4711", Gpc: true, Denied: []string{"personalize"}},
	}
}

func micros(s string) int64 {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t.UnixMicro()
}

func TestDecodeReadsEveryField(t *testing.T) {
	ev, warnings, fault := Decode([]byte(whole))
	if fault != nil || warnings != nil {
		t.Fatalf("fault %v, warnings %v", fault, warnings)
	}
	if diff := cmp.Diff(wholeEvent(), ev, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// view makes a valid event with more or other members.
func view(members string) string {
	return `{"id":"e","type":"view_item","time":"2026-03-01T10:00:00Z","user_id":"u","items":[{"item_id":"i"}]` + members + `}`
}

func event(kind, members string) string {
	return `{"id":"e","type":"` + kind + `","time":"2026-03-01T10:00:00Z","user_id":"u"` + members + `}`
}

func TestDecodeFaults(t *testing.T) {
	long := strings.Repeat("x", 257)
	cases := []struct{ name, in, want string }{
		{"nothing", ``, "broken_json"},
		{"space", ` `, "broken_json"},
		{"array", `[]`, "invalid_type"},
		{"string", `"x"`, "invalid_type"},
		{"word", `nul`, "broken_json"},
		{"open", `{"id":"e"`, "broken_json"},
		{"trailing comma", view(`,`), "broken_json"},
		{"two documents", view(``) + `{}`, "broken_json"},
		{"zero byte behind", view(``) + "\x00", "broken_json"},
		{"no colon", `{"id" "e"}`, "broken_json"},
		{"name without quotes", `{id:"e"}`, "broken_json"},
		{"single quotes", `{'id':'e'}`, "broken_json"},
		{"raw control character", "{\"id\":\"e\n\"}", "broken_json"},
		{"bad escape", `{"id":"\x"}`, "broken_json"},
		{"leading zero", view(`,"order":{"value":01}`), "broken_json"},
		{"plus", view(`,"order":{"value":+1}`), "broken_json"},
		{"bare point", view(`,"order":{"value":1.}`), "broken_json"},
		{"mixed brackets", view(`,"x":[1}`), "broken_json"},
		{"unknown value broken", view(`,"x":{"a":tru}`), "broken_json"},
		{"not UTF-8", view(",\"surface\":\"\xff\""), "invalid_utf8 /surface"},
		{"half a surrogate", view(`,"surface":"\ud800"`), "invalid_utf8 /surface"},
		{"not UTF-8 in an unknown field", view(",\"x\":{\"y\":\"\xff\"}"), "invalid_utf8"},
		{"name not UTF-8", view(",\"\xff\":1"), "invalid_utf8"},
		{"twice", view(`,"id":"f"`), "duplicate_name /id"},
		{"twice nested", view(`,"network":{"ip":"1","ip":"2"}`), "duplicate_name /network/ip"},
		{"twice by an escape", view(`,"\u0069d":"f"`), "duplicate_name /id"},
		{"unknown twice", view(`,"network":{"x":1,"x":2}`), "duplicate_name /network"},
		{"twice in an unknown field", view(`,"x":{"y":1,"y":2}`), "duplicate_name"},
		{"id missing", `{"type":"view_item","time":"2026-03-01T10:00:00Z","user_id":"u","items":[{"item_id":"i"}]}`, "missing_field /id"},
		{"id null", `{"id":null,"type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"u"}`, "missing_field /id"},
		{"id a number", `{"id":1,"type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"u"}`, "invalid_type /id"},
		{"id empty", `{"id":"","type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"u"}`, "missing_field /id"},
		{"id too long", `{"id":"` + long + `","type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"u"}`, "too_long /id"},
		{"id with a control character", `{"id":"\u0000","type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"u"}`, "invalid_value /id"},
		{"type missing", `{"id":"e","time":"2026-03-01T10:00:00Z","user_id":"u"}`, "missing_field /type"},
		{"type unknown", event("view_itm", ``), "unknown_type /type"},
		{"type in capitals", event("VIEW_ITEM", ``), "unknown_type /type"},
		{"time missing", `{"id":"e","type":"page_view","user_id":"u"}`, "missing_field /time"},
		{"time a number", `{"id":"e","type":"page_view","time":1767225600,"user_id":"u"}`, "invalid_type /time"},
		{"time without zone", `{"id":"e","type":"page_view","time":"2026-03-01T10:00:00","user_id":"u"}`, "invalid_value /time"},
		{"time with a space", `{"id":"e","type":"page_view","time":"2026-03-01 10:00:00Z","user_id":"u"}`, "invalid_value /time"},
		{"no such day", `{"id":"e","type":"page_view","time":"2026-02-29T10:00:00Z","user_id":"u"}`, "invalid_value /time"},
		{"before 1970", `{"id":"e","type":"page_view","time":"1969-12-31T23:59:59Z","user_id":"u"}`, "invalid_value /time"},
		{"sent_at", view(`,"sent_at":"yesterday"`), "invalid_value /sent_at"},
		{"nobody", `{"id":"e","type":"page_view","time":"2026-03-01T10:00:00Z"}`, "missing_field /user_id"},
		{"nobody by empty strings", `{"id":"e","type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"","anonymous_id":""}`, "missing_field /user_id"},
		{"user too long", `{"id":"e","type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"` + long + `"}`, "too_long /user_id"},
		{"visitor too long", `{"id":"e","type":"page_view","time":"2026-03-01T10:00:00Z","anonymous_id":"` + long + `"}`, "too_long /anonymous_id"},
		{"session too long", view(`,"session_id":"` + long + `"`), "too_long /session_id"},
		{"channel", view(`,"channel":"fax"`), "unknown_channel /channel"},
		{"channel a number", view(`,"channel":1`), "invalid_type /channel"},
		{"items missing", event("view_item", ``), "missing_field /items"},
		{"items empty", event("add_to_cart", `,"items":[]`), "missing_field /items"},
		{"items an object", event("view_item", `,"items":{}`), "invalid_type /items"},
		{"an item a string", event("view_item", `,"items":["i"]`), "invalid_type /items/0"},
		{"an item null", event("view_item", `,"items":[null]`), "invalid_type /items/0"},
		{"an item without id", event("view_item", `,"items":[{"item_id":"i"},{"index":1}]`), "missing_field /items/1/item_id"},
		{"an item id too long", event("share", `,"items":[{"item_id":"`+long+`"}]`), "too_long /items/0/item_id"},
		{"index negative", event("view_item", `,"items":[{"item_id":"i","index":-1}]`), "invalid_value /items/0/index"},
		{"index a fraction", event("view_item", `,"items":[{"item_id":"i","index":1.5}]`), "invalid_value /items/0/index"},
		{"index a string", event("view_item", `,"items":[{"item_id":"i","index":"1"}]`), "invalid_type /items/0/index"},
		{"quantity too great", event("view_item", `,"items":[{"item_id":"i","quantity":9223372036855}]`), "invalid_value /items/0/quantity"},
		{"price too great", event("view_item", `,"items":[{"item_id":"i","price":"9223372036855"}]`), "invalid_value /items/0/price"},
		{"price a word", event("view_item", `,"items":[{"item_id":"i","price":"free"}]`), "invalid_value /items/0/price"},
		{"price true", event("view_item", `,"items":[{"item_id":"i","price":true}]`), "invalid_type /items/0/price"},
		{"search without a term", event("search", ``), "missing_field /search_term"},
		{"search term too long", event("search", `,"search_term":"`+strings.Repeat("x", 1025)+`"`), "too_long /search_term"},
		{"purchase without order", event("purchase", `,"items":[{"item_id":"i"}]`), "missing_field /order/order_id"},
		{"refund without order id", event("refund", `,"order":{"value":"1"}`), "missing_field /order/order_id"},
		{"chargeback without order", event("chargeback", ``), "missing_field /order/order_id"},
		{"payment without value", event("payment", `,"order":{"order_id":"o","currency":"EUR"}`), "missing_field /order/value"},
		{"payment with null value", event("payment", `,"order":{"order_id":"o","value":null,"currency":"EUR"}`), "missing_field /order/value"},
		{"payment without currency", event("payment", `,"order":{"order_id":"o","value":1}`), "missing_field /order/currency"},
		{"currency", event("payment", `,"order":{"order_id":"o","value":1,"currency":"euro"}`), "invalid_value /order/currency"},
		{"value out of range", event("payment", `,"order":{"order_id":"o","value":1e13,"currency":"EUR"}`), "invalid_value /order/value"},
		{"value with a comma", event("payment", `,"order":{"order_id":"o","value":"1,50","currency":"EUR"}`), "invalid_value /order/value"},
		{"value empty", event("payment", `,"order":{"order_id":"o","value":"","currency":"EUR"}`), "invalid_value /order/value"},
		{"order a string", event("purchase", `,"order":"o"`), "invalid_type /order"},
		{"counterparty kind", view(`,"counterparty":{"id":"c","kind":"bank"}`), "unknown_kind /counterparty/kind"},
		{"apps a string", view(`,"device":{"apps":"x"}`), "invalid_type /device/apps"},
		{"an app a number", view(`,"device":{"apps":["x",1]}`), "invalid_type /device/apps/1"},
		{"device id too long", view(`,"device":{"id":"` + long + `"}`), "too_long /device/id"},
		{"signup time", view(`,"account":{"signup_time":"2020"}`), "invalid_value /account/signup_time"},
		{"quantity negative", event("view_item", `,"items":[{"item_id":"i","quantity":-1}]`), "invalid_value /items/0/quantity"},
		{"broken within consent", view(`,"consent":{"gpc":tru}`), "broken_json"},
		{"too large", view(`,"device":{"user_agent":"` + strings.Repeat("x", MaxEvent) + `"}`), "too_large"},
		{"first fault counts", `{"id":1,"type":"x"}`, "invalid_type /id"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, fault := Decode([]byte(c.in))
			if got := told(fault); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func told(f *Fault) string {
	if f == nil {
		return ""
	}
	return strings.TrimSpace(f.Code + " " + f.Pointer)
}

func TestDecodeAccepts(t *testing.T) {
	cases := []struct{ name, in, warnings string }{
		{"least", view(``), ""},
		{"space everywhere", " {\r\n \"id\" : \"e\" ,\t\"type\":\"page_view\", \"time\":\"2026-03-01T10:00:00Z\",\"anonymous_id\":\"a\" } \n", ""},
		{"null is absent", view(`,"session_id":null,"order":null,"channel":null,"sent_at":null,"consent":{"gpc":null,"denied":null},"counterparty":{"kind":null}`), ""},
		{"order with nothing", event("begin_checkout", `,"items":[{"item_id":"i"}],"order":{}`), ""},
		{"items on other types", event("page_view", `,"items":[{"item_id":"i"}]`), ""},
		{"zero bytes of a search", event("page_view", `,"search_term":""`), ""},
		{"unknown fields", view(`,"x":1,"consent":{"y/z~":[{"deep":[null,true,-1.5e3,"\n"]}]}`), "unknown_field /x, unknown_field /consent/y~1z~0, consent_unclear /consent"},
		{"unknown field of an item", event("view_item", `,"items":[{"item_id":"i","item_name":"n"}]`), "unknown_field /items/0/item_name"},
		{"order not taken", view(`,"order":{"order_id":"o","currency":"x"}`), "order_not_taken /order"},
		{"id of 256 bytes", `{"id":"` + strings.Repeat("é", 128) + `","type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"u"}`, ""},
		{"after sales", event("after_sales", `,"order":{"order_id":"o"}`), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ev, warnings, fault := Decode([]byte(c.in))
			if fault != nil {
				t.Fatal(fault)
			}
			var got []string
			for _, w := range warnings {
				got = append(got, w.Code+" "+w.Pointer)
			}
			if diff := cmp.Diff(c.warnings, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
			if slices.ContainsFunc(warnings, func(w Warning) bool { return w.Code == WarnOrderNotTaken }) && ev.Order != nil {
				t.Error("the order is still there")
			}
		})
	}
}

func TestAFaultyEventKeepsWhatCouldBeRead(t *testing.T) {
	for _, in := range []string{
		`{"id":7,"user_id":"u","type":"login","jurisdiction":"EU"}`,
		`{"user_id":"u","type":"login","jurisdiction":"EU","id":tru}`,
		`{"user_id":"u","type":"login","jurisdiction":"EU","id":"e","device":{"user_agent":"` + strings.Repeat("x", MaxEvent) + `"}}`,
	} {
		ev, _, fault := Decode([]byte(in))
		if fault == nil || ev == nil || Subject(ev) != "u:u" || ev.Type != vocab.Type_LOGIN || ev.Jurisdiction != "EU" {
			t.Errorf("fault %v, event %v", fault, ev)
		}
	}
	if ev, _, fault := Decode([]byte(`[]`)); ev != nil || fault == nil {
		t.Errorf("of no object: %v, %v", ev, fault)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	var members strings.Builder
	for i := range 2_000 {
		fmt.Fprintf(&members, `,"x%d":%d`, i, i)
	}
	_, warnings, fault := Decode([]byte(view(members.String())))
	if fault != nil || len(warnings) != maxWarnings {
		t.Errorf("%d warnings, fault %v", len(warnings), fault)
	}
	if _, _, fault = Decode([]byte(view(members.String() + `,"x1999":0`))); told(fault) != "duplicate_name" {
		t.Errorf("among many names: %v", fault)
	}
}

func TestParseDecimal(t *testing.T) {
	good := map[string]int64{
		"0": 0, "-0": 0, "0.000000": 0, "1": 1_000_000, "-1.5": -1_500_000, "19.99": 19_990_000, "0.000001": 1, "1e2": 100_000_000, "1.5E+1": 15_000_000,
		"25e-1": 2_500_000, "100e-8": 1, "9223372036854.775807": 1<<63 - 1, "0e999": 0, "100000000000000000000e-14": 1_000_000_000_000, "1e0000000000000000000000000002": 100_000_000, "1.5000000000000000000000000": 1_500_000, "0.10000000000000000000000": 100_000,
	}
	for in, want := range good {
		if got, exact, ok := parseDecimal(in); !ok || !exact || got != want {
			t.Errorf("%s: got %d %v %v, want %d", in, got, exact, ok, want)
		}
	}
	rounded := map[string]int64{
		"0.0000001": 0, "1e-7": 0, "0.0000005": 1, "-0.0000005": -1, "0.00000049": 0, "0.00000000000000000000000001": 0, "47.129999999999995": 47_130_000,
		"9.9999995": 10_000_000, "5e-8": 0, "5e-7": 1, "123456789.12345678901234567890": 123_456_789_123_457,
	}
	for in, want := range rounded {
		if got, exact, ok := parseDecimal(in); !ok || exact || got != want {
			t.Errorf("%s: got %d %v %v, want %d", in, got, exact, ok, want)
		}
	}
	for _, in := range []string{"9223372036854.775808", "9223372036854.7758075", "1e13", "1e400", "1e99999999999999999999", "99999999999999999999999"} {
		if got, _, ok := parseDecimal(in); ok {
			t.Errorf("%s: read as %d", in, got)
		}
	}
}

func TestTypesAreToldApart(t *testing.T) {
	var items, orders []string
	for _, name := range vocab.Types() {
		kind, _ := vocab.ParseType(name)
		if TakesItems(kind) {
			items = append(items, name)
		}
		if TakesOrder(kind) {
			orders = append(orders, name)
		}
	}
	want := "view_item_list view_item select_item add_to_cart remove_from_cart add_to_wishlist begin_checkout purchase; begin_checkout purchase refund after_sales payment chargeback"
	if got := strings.Join(items, " ") + "; " + strings.Join(orders, " "); got != want {
		t.Errorf("got %s", got)
	}
}

func TestDecodeItem(t *testing.T) {
	item, warnings, fault := DecodeItem([]byte(`{"item_id":"i","title":"Lamp","categories":[["Home","Lamps"],["Sale"]],"brand":"b","seller":"s","price":"12.5","currency":"EUR",
		"availability":"preorder","url":"/i","image_url":"https://x/i.png","available_from":"2026-01-01T00:00:00Z","attributes":{"colour":"red","watts":40,"dimmable":true},"stock":3}`))
	if fault != nil || len(warnings) != 1 || warnings[0].Pointer != "/stock" {
		t.Fatalf("fault %v, warnings %v", fault, warnings)
	}
	want := &catalog.Item{
		ItemId: "i", Title: "Lamp", Categories: []*catalog.CategoryPath{{Names: []string{"Home", "Lamps"}}, {Names: []string{"Sale"}}}, Brand: "b", Seller: "s",
		Price: 12_500_000, Currency: "EUR", Availability: "preorder", Url: "/i", ImageUrl: "https://x/i.png", AvailableFrom: micros("2026-01-01T00:00:00Z"),
		Attributes: map[string]string{"colour": "red", "watts": "40", "dimmable": "true"},
	}
	if diff := cmp.Diff(want, item, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for in, want := range map[string]string{
		`x`: "broken_json", `[]`: "invalid_type", `{}`: "missing_field /item_id",
		`{"item_id":"i","price":-1}`:                        "invalid_value /price",
		`{"item_id":"i","price":12.5,"currency":"€"}`:       "invalid_value /currency",
		`{"item_id":"i","categories":["Home"]}`:             "invalid_type /categories/0",
		`{"item_id":"i","categories":[["Home",2]]}`:         "invalid_type /categories/0/1",
		`{"item_id":"i","categories":[[]]}`:                 "invalid_value /categories",
		`{"item_id":"i","availability":"soon"}`:             "invalid_value /availability",
		`{"item_id":"i","url":"javascript:x"}`:              "invalid_value /url",
		`{"item_id":"i","attributes":{"a":[]}}`:             "invalid_type /attributes",
		`{"item_id":"i","attributes":{"a":"1","a":"2"}}`:    "duplicate_name /attributes",
		`{"item_id":"i","attributes":{"a":"1",}}`:           "broken_json",
		`{"item_id":"i","available_from":"2026-01-01"}`:     "invalid_value /available_from",
		`{"item_id":"` + strings.Repeat("x", MaxItem) + `"`: "too_large",
	} {
		if _, _, fault := DecodeItem([]byte(in)); told(fault) != want {
			t.Errorf("%.60s: got %q, want %q", in, told(fault), want)
		}
	}
}

// details are all that a fault of an event may say, names all that its pointer may be made of, beside indexes.
var details, names = func() (details []string, names map[string]bool) {
	details = []string{
		detailJSON, detailEvent, detailEventSize, detailUTF8, detailDuplicate, detailString, detailStrings, detailObject, detailItems, detailBool, detailTime,
		detailMoney, detailCount, detailIdentifier, detailShort, detailControl, detailTerm, detailSubject, detailCurrency, detailValue,
		"must be web, app, applet or server", "must be seller, terminal or payee", "must be one of " + strings.Join(vocab.Types(), ", "),
	}
	names = make(map[string]bool)
	for _, leaf := range Fields.Leaves() {
		for name := range strings.SplitSeq(leaf.Path, ".") {
			names[name] = true
		}
	}
	return details, names
}()

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		whole, view(``), view(`,"x":{"y":[1,2,{"z":"\u00e9"}]}`), event("payment", `,"order":{"order_id":"o","value":"1.50","currency":"EUR"}`),
		`{"id":1}`, `[]`, `{"a":"\ud800"}`, "{\"id\":\"\xff\"}", `{"id":"e","id":"f"}`, `{"items":[{"price":1e-7}]}`, `{"time":"2026-03-01T10:00:00Z"`, view(`,"order":{"value":1e400}`),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		ev, _, fault := Decode(data)
		if string(data) != before {
			t.Fatal("the input was changed")
		}
		if fault == nil {
			checkDecoded(t, data, ev)
		} else {
			checkFault(t, fault)
		}
		checkDecoder(t, data, ev, fault)
		if _, _, fault := DecodeItem(data); fault == nil && !jsontext.Value(data).IsValid() {
			t.Error("an item was read from what is no JSON")
		}
	})
}

// checkDecoder: a Decoder finds the same, also in memory that it has used before, and where another event follows.
func checkDecoder(t *testing.T, data []byte, ev *Event, fault *Fault) {
	t.Helper()
	var d Decoder
	for range 2 {
		again, _, otherFault := d.Decode(data)
		if !proto.Equal(again, ev) || !cmp.Equal(otherFault, fault) {
			t.Fatalf("a Decoder: %v, %v", again, otherFault)
		}
		d.Reset()
	}
	if fault != nil {
		return
	}
	next, _, otherFault, size := d.Next(append(slices.Clone(data), `,{}`...))
	if !proto.Equal(next, ev) || otherFault != nil || size != len(strings.TrimRight(string(data), " \t\r\n")) {
		t.Fatalf("as one of several: %v, %v, %d bytes", next, otherFault, size)
	}
}

// checkDecoded: what decodes is JSON, validates, and survives the log's encoding.
func checkDecoded(t *testing.T, data []byte, ev *Event) {
	t.Helper()
	if !jsontext.Value(data).IsValid() {
		t.Error("an event was read from what is no JSON")
	}
	if fault := Validate(ev); fault != nil {
		t.Errorf("what decodes does not validate: %v", fault)
	}
	encoded, err := ev.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	again := new(Event)
	if err := again.UnmarshalVT(encoded); err != nil || !proto.Equal(again, ev) {
		t.Errorf("the log's encoding changes an event: %v", err)
	}
}

// checkFault: a fault is made of our own words, so it cannot hold a value.
func checkFault(t *testing.T, fault *Fault) {
	t.Helper()
	if !slices.Contains(details, fault.Detail) {
		t.Errorf("detail %q", fault.Detail)
	}
	if fault.Pointer == "" {
		return
	}
	for token := range strings.SplitSeq(fault.Pointer[1:], "/") {
		if _, err := strconv.Atoi(token); err != nil && !names[token] {
			t.Errorf("pointer %q", fault.Pointer)
		}
	}
}

// typical is an event of 412 bytes as a storefront posts it.
var typical = func() []byte {
	text := `{"id":"01JABCDEFGHJKMNPQRSTVWXYZ0","type":"view_item","time":"2026-03-01T10:00:00.123Z","sent_at":"2026-03-01T10:00:01.456Z","user_id":"customer-004711",` +
		`"anonymous_id":"v-9f8e7d6c5b4a","session_id":"s-0123456789abcdef","channel":"web","surface":"product_page","locale":"en-GB",` +
		`"items":[{"item_id":"item-012345","index":3,"quantity":1,"price":"19.99"}],"consent":{"revision":"1-5-4711"}`
	return []byte(text + strings.Repeat(" ", 412-len(text)-1) + "}")
}()

func BenchmarkDecode(b *testing.B) {
	if _, warnings, fault := Decode(typical); fault != nil || warnings != nil {
		b.Fatal(fault, warnings)
	}
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		Decode(typical)
	}
}

// BenchmarkDecoder is what a request's events cost.
func BenchmarkDecoder(b *testing.B) {
	var d Decoder
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%200 == 0 {
			d.Reset()
		}
		d.Decode(typical)
	}
}
