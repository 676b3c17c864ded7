package web

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A cart lives in a cookie, so it is bounded.
const (
	maxCart     = 20 // different items
	maxQuantity = 99
	cartAge     = 24 * time.Hour
)

// cartLine is an item of the cart, and how many of it.
type cartLine struct {
	ID       string
	Quantity int
}

// parseCart reads the cookie; what is not a line of a cart is passed over.
func parseCart(cookie string) (cart []cartLine) {
	for entry := range strings.SplitSeq(cookie, ",") {
		escaped, number, _ := strings.Cut(entry, "*")
		id, err := url.QueryUnescape(escaped)
		quantity, notNumber := strconv.Atoi(number)
		if err == nil && notNumber == nil && id != "" && quantity > 0 {
			cart = withQuantity(cart, id, quantity)
		}
	}
	return cart
}

func cartText(cart []cartLine) string {
	entries := make([]string, len(cart))
	for i, l := range cart {
		entries[i] = url.QueryEscape(l.ID) + "*" + strconv.Itoa(l.Quantity)
	}
	return strings.Join(entries, ",")
}

// withQuantity is the cart with so many of an item, none = without it. A full cart takes no further item.
func withQuantity(cart []cartLine, id string, quantity int) []cartLine {
	i := slices.IndexFunc(cart, func(l cartLine) bool { return l.ID == id })
	switch {
	case i < 0 && quantity > 0 && len(cart) < maxCart:
		return append(slices.Clone(cart), cartLine{id, min(quantity, maxQuantity)})
	case i < 0:
		return cart
	case quantity <= 0:
		return slices.Delete(slices.Clone(cart), i, i+1)
	default:
		cart = slices.Clone(cart)
		cart[i].Quantity = min(quantity, maxQuantity)
		return cart
	}
}

// quantityOf is how many of an item are in the cart.
func quantityOf(cart []cartLine, id string) int {
	for _, l := range cart {
		if l.ID == id {
			return l.Quantity
		}
	}
	return 0
}

// basketLine is a line of the cart as the page shows it.
type basketLine struct {
	Item
	Quantity int
	Sum      string
}

// basket is the cart with what it costs.
type basket struct {
	Lines    []basketLine
	Pieces   int
	Total    string // decimal
	Currency string
}

func (s *site) basket(cart []cartLine) basket {
	var b basket
	total := 0
	for _, l := range cart {
		item, ok := s.Catalogue.Item(l.ID)
		if !ok {
			continue
		}
		sum := l.Quantity * pence(item.Price)
		total += sum
		b.Pieces += l.Quantity
		b.Currency = item.Currency
		b.Lines = append(b.Lines, basketLine{item, l.Quantity, pounds(sum)})
	}
	b.Total = pounds(total)
	return b
}

// pence reads a price with at most two places. The demo's catalogue has no others.
func pence(price string) int {
	whole, fraction, _ := strings.Cut(price, ".")
	n, err := strconv.Atoi(whole + (fraction + "00")[:2])
	if err != nil {
		return 0
	}
	return n
}

func pounds(pence int) string { return fmt.Sprintf("%d.%02d", pence/100, pence%100) }

func (s *site) cart(v *visit) error {
	return v.render("cart", http.StatusOK, map[string]any{
		"Title": "Cart", "Order": v.draw(time.Now()), "Basket": s.basket(v.Cart), "Cards": s.Cards, "Countries": countries, "MaxQuantity": maxQuantity,
	})
}

func (v *visit) setCart(cart []cartLine) {
	age := cartAge
	if len(cart) == 0 {
		age = -time.Second
	}
	v.setCookie(cookieCart, cartText(cart), age)
}

func (s *site) addToCart(v *visit) error {
	item, ok := s.Catalogue.Item(v.r.PathValue("id"))
	if !ok {
		return errNotFound
	}
	before, wanted := quantityOf(v.Cart, item.ID), 1
	if v.r.PostForm.Has("quantity") { // an item's own page; a card adds one
		if wanted, ok = v.quantity(); !ok || wanted == 0 {
			v.tell(fmt.Sprintf("The quantity must be a number from 1 to %d.", maxQuantity))
			return v.back("/shop/cart")
		}
	}
	cart := withQuantity(v.Cart, item.ID, before+wanted)
	more := quantityOf(cart, item.ID) - before
	switch {
	case more == 0 && before == 0:
		v.tell(fmt.Sprintf("Your cart is full: it takes at most %d different items.", maxCart))
		return v.back("/shop/cart")
	case more == 0:
		v.tell(fmt.Sprintf("Your cart has %d × %s: it takes no more of one item.", before, item.Title))
		return v.back("/shop/cart")
	}
	v.send("add_to_cart", []cartLine{{item.ID, more}}, nil)
	v.setCart(cart)
	v.tell(item.Title + " is in your cart.")
	return v.back("/shop/cart")
}

// changeCart changes how many of an item are in the cart; 0 takes it out.
func (s *site) changeCart(v *visit) error {
	item, ok := s.Catalogue.Item(v.r.PostFormValue("id"))
	if !ok {
		return errNotFound
	}
	wanted, ok := v.quantity()
	if !ok {
		v.tell(fmt.Sprintf("The quantity must be a number from 0 to %d.", maxQuantity))
		return v.back("/shop/cart")
	}
	before := quantityOf(v.Cart, item.ID)
	cart := withQuantity(v.Cart, item.ID, wanted)
	now := quantityOf(cart, item.ID)
	switch {
	case now > before:
		v.send("add_to_cart", []cartLine{{item.ID, now - before}}, nil)
	case now < before:
		v.send("remove_from_cart", []cartLine{{item.ID, before - now}}, nil)
	}
	v.setCart(cart)
	if now == 0 {
		v.tell(item.Title + " is no longer in your cart.")
	} else {
		v.tell(fmt.Sprintf("%d × %s in your cart.", now, item.Title))
	}
	return v.back("/shop/cart")
}

// quantity is the form's, if it has one.
func (v *visit) quantity() (n int, ok bool) {
	n, err := strconv.Atoi(v.r.PostFormValue("quantity"))
	return min(n, maxQuantity), err == nil && n >= 0
}

// Card is a card that the demo's shoppers can pay with.
type Card struct {
	Name, Label string
	Token       string // of the instrument; empty: one of the shopper's own
}

// countries are where the demo delivers to, and where its cards are from.
var countries = []string{"GB", "DE", "FR", "NL", "US"}

// order is what the browser keeps of its newest order. The decision holds for this cart, at this value, until it expires.
type order struct {
	ID       string    `json:"order"`
	Decision string    `json:"decision"`
	Cart     string    `json:"cart"` // fingerprint
	Value    string    `json:"value"`
	Expires  time.Time `json:"expires"`
	Placed   bool      `json:"placed"`
}

// decision is a decision as the API shows it.
type decision struct {
	ID      string   `json:"decision_id"`
	Outcome string   `json:"outcome"`
	Score   int      `json:"score"`
	Rules   []string `json:"rules"`
	Reasons []struct {
		Text     string `json:"text"`
		TellUser bool   `json:"tell_user"`
	} `json:"reasons"`
	AppealToken string    `json:"appeal_token"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// Told are the reasons that the person may be told.
func (d *decision) Told() (texts []string) {
	for _, r := range d.Reasons {
		if r.TellUser {
			texts = append(texts, r.Text)
		}
	}
	return texts
}

// drawnFor is how long a cart page can be paid from: the payment bears the page's time.
const drawnFor = 15 * time.Minute

// draw makes the id of the order that a cart page may become, with the time of the page. A button that is pressed twice sends the same payment twice, which is
// decided once.
func (v *visit) draw(now time.Time) string {
	text := randomID() + "." + strconv.FormatInt(now.UnixMilli(), 10)
	return text + "." + v.site.sign("draw", v.Anonymous+"\x00"+text)
}

// drawn reads what draw made for this visitor.
func (v *visit) drawn(text string, now time.Time) (id string, at time.Time, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 || !hmac.Equal([]byte(text[i+1:]), []byte(v.site.sign("draw", v.Anonymous+"\x00"+text[:i]))) {
		return "", at, false
	}
	id, millis, _ := strings.Cut(text[:i], ".")
	n, err := strconv.ParseInt(millis, 10, 64)
	at = time.UnixMilli(n)
	return id, at, err == nil && now.Sub(at) <= drawnFor
}

// buy asks for a decision about the payment, and acts on it.
func (s *site) buy(v *visit) error {
	b := s.basket(v.Cart)
	if len(b.Lines) == 0 {
		return v.back("/shop/cart")
	}
	id, at, ok := v.drawn(v.r.PostFormValue("order"), time.Now())
	if !ok {
		return v.again("This page of your cart was old. Please look at your cart, and press the button again.")
	}
	payment, err := v.payment(id, at, b)
	if err != nil {
		return err
	}
	made, err := v.decide(payment)
	if hasCode(err, "id_reused") {
		return v.again("This order has been sent already, with another cart or another card. Please look at your cart, and press the button again.")
	}
	if err != nil {
		return err
	}
	o := order{ID: id, Decision: made.ID, Cart: v.cartMark(), Value: b.Total, Expires: made.ExpiresAt}
	switch made.Outcome {
	case "allow":
		v.place(&o, b)
	case "review":
		v.setCart(nil) // held: the goods are put aside until somebody has looked at it
	}
	v.keepOrder(o)
	http.Redirect(v.w, v.r, "/shop/order", http.StatusSeeOther)
	return nil
}

// again shows the cart with what has to be done again, and why.
func (v *visit) again(notice string) error {
	v.tell(notice)
	http.Redirect(v.w, v.r, "/shop/cart", http.StatusSeeOther)
	return nil
}

// payment is the event that is decided about, from the form.
func (v *visit) payment(id string, at time.Time, b basket) (map[string]any, error) {
	card, billing, shipping := v.r.PostFormValue("card"), v.r.PostFormValue("billing"), v.r.PostFormValue("shipping")
	i := slices.IndexFunc(v.site.Cards, func(c Card) bool { return c.Name == card })
	if i < 0 || !slices.Contains(countries, billing) || !slices.Contains(countries, shipping) {
		return nil, errNotFound
	}
	payment := v.event("payment", nil)
	payment["id"], payment["time"] = "pay-"+id, at.UTC().Format(time.RFC3339Nano)
	payment["order"] = map[string]any{
		"order_id": id, "value": b.Total, "currency": b.Currency, "payment_instrument": v.instrument(v.site.Cards[i]), "billing_country": billing, "shipping_country": shipping,
	}
	payment["device"] = map[string]any{"id": v.Anonymous}
	if host, _, err := net.SplitHostPort(v.r.RemoteAddr); err == nil {
		payment["network"] = map[string]any{"ip": host}
	}
	return payment, nil
}

// While the same payment is being decided, for another press of the button, its answer is asked for again.
const (
	decidePause = 100 * time.Millisecond
	decideTries = 50
)

func (v *visit) decide(payment map[string]any) (made decision, err error) {
	for range decideTries {
		err = v.site.API.do(v.r.Context(), v.person, http.MethodPost, "/v1/decisions", payment, &made)
		if !hasCode(err, "in_flight") {
			return made, err
		}
		select {
		case <-v.r.Context().Done():
			return made, v.r.Context().Err()
		case <-time.After(decidePause):
		}
	}
	return made, err
}

// cartMark tells carts apart.
func (v *visit) cartMark() string { return v.site.sign("cart", cartText(v.Cart)) }

// instrument is the card's token; a card of the shopper's own has one that nobody else has.
func (v *visit) instrument(c Card) string {
	if c.Token != "" {
		return c.Token
	}
	return "tok_" + v.site.sign("card", v.User+"\x00"+v.Anonymous)
}

// place records the purchase, and empties the cart.
func (v *visit) place(o *order, b basket) {
	lines := make([]cartLine, len(b.Lines))
	for i, l := range b.Lines {
		lines[i] = cartLine{l.ID, l.Quantity}
	}
	v.send("purchase", lines, map[string]any{"id": "buy-" + o.ID, "order": map[string]any{"order_id": o.ID, "value": b.Total, "currency": b.Currency}})
	v.setCart(nil)
	o.Placed = true
}

// decidedOrder returns the browser's newest order, and what was decided about it.
func (v *visit) decidedOrder() (o order, made decision, err error) {
	o, ok := v.newestOrder()
	if !ok {
		return o, made, errNotFound
	}
	made, err = v.decision(o.Decision)
	return o, made, err
}

// confirmOrder is the demo's stand-in for the card's own check, after which a challenged order goes on: the one that was decided about, while the decision holds.
// An order that is confirmed twice is placed once, since its events have ids of its own.
func (s *site) confirmOrder(v *visit) error {
	o, made, err := v.decidedOrder()
	if err != nil {
		return err
	}
	b := s.basket(v.Cart)
	switch {
	case o.Placed:
		http.Redirect(v.w, v.r, "/shop/order", http.StatusSeeOther)
		return nil
	case made.Outcome != "challenge":
		return errNotFound
	case !time.Now().Before(o.Expires):
		return v.again("The time to confirm this payment has passed. Please pay again: it is decided anew.")
	case len(b.Lines) == 0, o.Cart != v.cartMark(), o.Value != b.Total:
		return v.again("Your cart is no longer the one that was to be paid. Please pay again: it is decided anew.")
	}
	v.send("verification", nil, map[string]any{"id": "verify-" + o.ID})
	v.place(&o, b)
	v.keepOrder(o)
	http.Redirect(v.w, v.r, "/shop/order", http.StatusSeeOther)
	return nil
}

// order shows what was decided about the browser's newest order.
func (s *site) order(v *visit) error {
	o, made, err := v.decidedOrder()
	if err != nil {
		return err
	}
	state := made.Outcome
	if o.Placed {
		state = "placed"
	}
	return v.render("order", http.StatusOK, map[string]any{"Title": orderTitles[state], "State": state, "Order": o, "Decision": &made})
}

var orderTitles = map[string]string{
	"placed": "Your order is placed", "challenge": "One more step", "review": "Your order is on hold", "block": "The payment was refused",
}

func (v *visit) decision(id string) (made decision, err error) {
	err = v.site.API.do(v.r.Context(), v.person, http.MethodGet, "/v1/decisions/"+url.PathEscape(id), nil, &made)
	return made, err
}

// keepOrder signs the order for this visitor: a decision is shown to whom it is about.
func (v *visit) keepOrder(o order) {
	data, _ := json.Marshal(o) // strings and a flag
	text := base64.RawURLEncoding.EncodeToString(data)
	v.setCookie(cookieOrder, text+"."+v.site.sign("order", v.Anonymous+"\x00"+text), cartAge)
}

func (v *visit) newestOrder() (o order, ok bool) {
	text, mac, _ := strings.Cut(v.cookie(cookieOrder), ".")
	if !hmac.Equal([]byte(mac), []byte(v.site.sign("order", v.Anonymous+"\x00"+text))) {
		return o, false
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	return o, err == nil && json.Unmarshal(data, &o) == nil
}
