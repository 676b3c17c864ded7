package web

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// card is an item as a list shows it, with why it is there.
type card struct {
	Item
	Reasons []cause
}

// cause is why an item is in a list, and the item that caused it: one of the person's own, or of the page; nil = none in particular.
type cause struct {
	Code, Text string
	Item       *Item
}

// row is a titled list of cards.
type row struct {
	Title, Note      string
	Cards            []card
	RecommendationID string
	Surface          string
	Personalized     bool
}

const (
	rowSize    = 12     // items of a list on the first page
	shelfSize  = 60     // items of a page of a search or a category
	shelfLimit = 10_000 // items that are counted
)

// demoUsers can sign in without a password: it is a demo.
var demoUsers = []string{"ada", "grace", "linus"}

// becauseNotes say, in a shopper's words, why a list is not personal.
var becauseNotes = map[string]string{
	"opted_out":  "Personalization is off. Everyone sees this list.",
	"no_consent": "Not personalized: the privacy notice has not been accepted.",
	"no_subject": "Not personalized: nobody is known here.",
	"no_history": "Not personalized yet: look at a few things first.",
	"degraded":   "Not personalized right now.",
	"surface":    "Everyone sees this list.",
}

func (s *site) home(v *visit) error {
	personal, err := v.recommend("home", nil, rowSize)
	if err != nil {
		return err
	}
	trending, err := v.trending(personal)
	if err != nil {
		return err
	}
	v.send("page_view", nil, nil)
	v.impression(personal)
	return v.render("home", http.StatusOK, map[string]any{"Title": "Home", "Personal": personal, "Trending": trending, "Categories": s.Catalogue.Categories()})
}

func (s *site) item(v *visit) error {
	item, ok := s.Catalogue.Item(v.r.PathValue("id"))
	if !ok {
		return errNotFound
	}
	v.send("view_item", []cartLine{{item.ID, 1}}, from(v.r.URL.Query().Get("rec")))
	var answer recommendation
	err := s.API.do(v.r.Context(), v.person, http.MethodGet, "/v1/items/"+url.PathEscape(item.ID)+"/similar?limit=6", nil, &answer)
	if err != nil && !hasStatus(err, http.StatusNotFound) {
		return err
	}
	similar := s.row("Goes with this", "Looked at and bought together with it, by at least a few people. Everyone sees the same.", answer)
	if slices.ContainsFunc(similar.Cards, func(c card) bool { return c.because("same_category") || c.filled() }) {
		similar.Note = "First what people looked at or bought together with it, then more of its kind. Everyone sees the same."
	}
	return v.render("item", http.StatusOK, map[string]any{"Title": item.Title, "Item": item, "Similar": similar, "MaxQuantity": maxQuantity})
}

func (s *site) category(v *visit) error {
	name := v.r.PathValue("name")
	items := s.Catalogue.InCategory(name, shelfLimit)
	if len(items) == 0 {
		return errNotFound
	}
	return v.shelf("/shop/category/"+url.PathEscape(name)+"?", name, items, nil)
}

func (s *site) search(v *visit) error {
	query := v.r.URL.Query().Get("q")
	query = strings.ToValidUTF8(query[:min(len(query), 200)], "")
	items := s.Catalogue.Search(query, shelfLimit)
	if query != "" {
		v.send("search", nil, map[string]any{"search_term": query})
	}
	title := fmt.Sprintf("%s for “%s”", counted(len(items), "result"), query)
	return v.shelf("/shop/search?"+url.Values{"q": {query}}.Encode()+"&", title, items, map[string]any{"Query": query})
}

// shelf shows items of the shop's own catalogue, a page at a time. Further pages are at base with their number.
func (v *visit) shelf(base, title string, items []Item, data map[string]any) error {
	number, err := strconv.Atoi(v.r.URL.Query().Get("page"))
	pages := max(1, (len(items)+shelfSize-1)/shelfSize)
	if err != nil || number < 1 || number > pages {
		number = 1
	}
	first := (number - 1) * shelfSize
	shown := items[first:min(first+shelfSize, len(items))]
	r := plainRow(title, shown)
	if r.Note = "From the shop’s own catalogue: everyone sees the same."; pages > 1 {
		r.Note = fmt.Sprintf("%d to %d of %s. %s", first+1, first+len(shown), counted(len(items), "item"), r.Note)
	}
	if data == nil {
		data = make(map[string]any)
	}
	data["Title"], data["Row"] = title, r
	if number > 1 {
		data["Before"] = base + "page=" + strconv.Itoa(number-1)
	}
	if number < pages {
		data["After"] = base + "page=" + strconv.Itoa(number+1)
	}
	return v.render("list", http.StatusOK, data)
}

// counted is "1 result" or "12 results".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func (s *site) signIn(v *visit) error {
	user := v.r.PostFormValue("user")
	if !slices.Contains(demoUsers, user) {
		return errNotFound
	}
	v.setCookie(cookieUser, user+"."+s.sign("user", user), 24*time.Hour)
	v.setCookie(cookieRevision, "", -time.Second) // it was the visitor's
	return v.back("/")
}

// signOut starts a fresh anonymous id, so that what follows joins neither the account nor the browser's past. The account's cart and order go with it.
func (s *site) signOut(v *visit) error {
	v.setCookie(cookieUser, "", -time.Second)
	v.setCookie(cookieRevision, "", -time.Second)
	v.setCookie(cookieVisitor, randomID(), 365*24*time.Hour)
	v.setCookie(cookieOrder, "", -time.Second)
	v.setCart(nil)
	return v.back("/")
}

// recommend asks for a list and names it honestly.
func (v *visit) recommend(surface string, items []string, limit int) (row, error) {
	ask := map[string]any{"surface": surface, "limit": limit, "context": map[string]any{"item_ids": items}}
	v.identify(ask)
	var answer recommendation
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodPost, "/v1/recommendations", ask, &answer); err != nil {
		return row{}, err
	}
	r := v.site.row("Recommended for you", "Made from what you looked at here. “Why this?” tells the reason of each.", answer)
	r.Surface = surface
	if !answer.Personalized {
		r.name("Popular right now", becauseNotes[answer.Because])
	}
	return r, nil
}

// trending asks for what is trending. Below a list that everyone sees it leaves out what stands there: the two are made of the same.
func (v *visit) trending(above row) (row, error) {
	limit, note := rowSize, "Counted in people, not clicks. Everyone sees the same."
	if !above.Personalized {
		limit, note = 2*rowSize, note+" What stands above is left out."
	}
	var answer recommendation
	err := v.site.API.do(v.r.Context(), v.person, http.MethodGet, "/v1/lists/trending?limit="+strconv.Itoa(limit), nil, &answer)
	r := v.site.row("", "", answer)
	if !above.Personalized {
		r.Cards = slices.DeleteFunc(r.Cards, func(c card) bool {
			return slices.ContainsFunc(above.Cards, func(shown card) bool { return shown.ID == c.ID })
		})
	}
	r.Cards = r.Cards[:min(len(r.Cards), rowSize)]
	r.name("Trending in the shop", note)
	return r, err
}

// name gives a list that many people make its title and note, and says how much of it they have not made: that is the newest of the catalogue.
func (r *row) name(title, note string) {
	filled := 0
	for i := range r.Cards {
		if r.Cards[i].filled() {
			filled++
		}
	}
	r.Title, r.Note = title, note
	switch {
	case filled == 0:
	case filled == len(r.Cards):
		r.Title, r.Note = "New in the shop", note+" Too few people have chosen the same things so far to say what is "+strings.ToLower(title)+"."
	default:
		r.Note += fmt.Sprintf(" Too few people chose others, so %d of these come from the catalogue, the newest first.", filled)
	}
}

// filled tells whether nothing but the catalogue put the item there.
func (c *card) filled() bool { return c.because("catalogue") }

// because tells whether the item has a reason of the code.
func (c *card) because(code string) bool {
	return slices.ContainsFunc(c.Reasons, func(why cause) bool { return why.Code == code })
}

func (s *site) row(title, note string, answer recommendation) row {
	r := row{Title: title, Note: note, RecommendationID: answer.ID, Personalized: answer.Personalized}
	for _, ranked := range answer.Items {
		item, ok := s.Catalogue.Item(ranked.ItemID)
		if !ok {
			continue
		}
		c := card{Item: item}
		for _, why := range ranked.Reasons {
			because := cause{Code: why.Code, Text: why.Text}
			if from, ok := s.Catalogue.Item(why.ItemID); ok {
				because.Item = &from
			}
			c.Reasons = append(c.Reasons, because)
		}
		r.Cards = append(r.Cards, c)
	}
	return r
}

func plainRow(title string, items []Item) row {
	r := row{Title: title}
	for _, item := range items {
		r.Cards = append(r.Cards, card{Item: item})
	}
	return r
}

// identify adds the person to a request or an event.
func (v *visit) identify(body map[string]any) {
	if v.User != "" {
		body["user_id"] = v.User
	}
	body["anonymous_id"] = v.Anonymous
}

// event is something that the person does now.
func (v *visit) event(kind string, lines []cartLine) map[string]any {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	event := map[string]any{
		"id": randomID(), "type": kind, "time": now, "sent_at": now, "channel": "web", "surface": "storefront",
		"consent": map[string]any{"revision": v.Revision, "gpc": v.GPC},
	}
	v.identify(event)
	if len(lines) > 0 {
		items := make([]map[string]any, len(lines))
		for i, l := range lines {
			items[i] = map[string]any{"item_id": l.ID, "index": i, "quantity": l.Quantity}
		}
		event["items"] = items
	}
	return event
}

// send reports what the person did, with members that only some types have. A page is shown whether or not it could be reported.
func (v *visit) send(kind string, lines []cartLine, more map[string]any) {
	event := v.event(kind, lines)
	maps.Copy(event, more)
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodPost, "/v1/events", event, nil); err != nil {
		v.site.Logger.Warn("an event was not collected", "type", kind, "error", err)
	}
}

// impression reports which items a list showed.
func (v *visit) impression(r row) {
	if len(r.Cards) == 0 {
		return
	}
	lines := make([]cartLine, len(r.Cards))
	for i, c := range r.Cards {
		lines[i] = cartLine{c.ID, 1}
	}
	v.send("view_item_list", lines, from(r.RecommendationID))
}

// from names the recommendation that led to an event, if one did.
func from(recommendation string) map[string]any {
	if recommendation == "" {
		return nil
	}
	return map[string]any{"recommendation_id": recommendation}
}

// render writes a page into memory first, so that a failing template never leaves half of one.
func (v *visit) render(page string, status int, data map[string]any) error {
	data["V"] = v
	data["Here"] = v.r.URL.RequestURI()
	data["Users"] = demoUsers
	data["Attribution"] = v.site.Attribution
	if v.site.Crowd != nil {
		data["Crowd"] = v.site.Crowd.Crowd()
	}
	if page != "error" {
		data["Pieces"] = v.site.basket(v.Cart).Pieces
	}
	if page != "error" {
		if err := v.policyNotice(page, data); err != nil {
			return err
		}
	}
	data["Notice"] = v.notice()
	var out bytes.Buffer
	if err := v.site.pages[page].Execute(&out, data); err != nil {
		return fmt.Errorf("rendering %s: %w", page, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.WriteHeader(status)
	_, err := out.WriteTo(v.w)
	if err != nil {
		v.site.Logger.Debug("the browser went away", "error", err)
	}
	return nil
}
