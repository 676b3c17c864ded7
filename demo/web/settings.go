package web

import (
	"net/http"
	"net/url"
	"time"
)

// policyNotice puts the notice on the page until it is answered. The page of the settings has the notice among them.
func (v *visit) policyNotice(page string, data map[string]any) error {
	state, err := v.consent()
	if err != nil {
		return err
	}
	data["Consent"] = state
	if declined := v.cookie(cookieDeclined) == state.Policy.Version; state.Policy.Accepted || declined || page == "privacy" {
		return nil
	}
	var policy policyText
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodGet, "/v1/policy", nil, &policy); err != nil {
		return err
	}
	data["Policy"] = policy
	return nil
}

// consent is the person's state of consent, asked for once a request.
func (v *visit) consent() (consentState, error) {
	if v.state != nil {
		return *v.state, nil
	}
	state := new(consentState)
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodGet, v.path()+"/consent", nil, state); err != nil {
		return consentState{}, err
	}
	v.state = state
	return *state, nil
}

// decidePolicy records an acceptance, or its end.
func (s *site) decidePolicy(v *visit) error {
	version := v.r.PostFormValue("version")
	switch v.r.PostFormValue("accept") {
	case "yes":
		return v.acceptPolicy(version)
	case "no":
		return v.decline(version)
	case "withdraw":
		if err := v.withdraw(version, "You have withdrawn. The button to accept again is below."); err != nil {
			return err
		}
		return v.back("/settings/privacy")
	default:
		return errAnswer
	}
}

func (v *visit) acceptPolicy(version string) error {
	var answer written
	err := v.site.API.do(v.r.Context(), v.person, http.MethodPut, v.path()+"/policy", map[string]any{"version": version, "accepted": true}, &answer)
	if hasCode(err, "unknown_policy_version") {
		v.tell("The notice has changed meanwhile, so nothing was accepted. Please read the new one.")
		return v.back("/")
	}
	if err != nil {
		return err
	}
	v.accept(answer, "Thank you. Privacy has a button to withdraw, and a switch for every choice.")
	return v.back("/")
}

// decline records nothing: nobody's refusal is stored; the browser alone remembers not to ask again. An acceptance that holds, given in another tab, is withdrawn.
func (v *visit) decline(version string) error {
	state, err := v.consent()
	if err != nil {
		return err
	}
	if state.Policy.Accepted {
		if err := v.withdraw(version, "Declined: you had accepted before, and that is withdrawn. Nothing of what you look at is stored. Privacy has a button to accept after all."); err != nil {
			return err
		}
		return v.back("/")
	}
	v.setCookie(cookieDeclined, version, declinedFor)
	v.tell("Declined: nothing of what you look at is stored. Privacy has a button to accept after all.")
	return v.back("/")
}

func (v *visit) withdraw(version, notice string) error {
	var answer written
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodPut, v.path()+"/policy", map[string]any{"version": version, "accepted": false}, &answer); err != nil {
		return err
	}
	v.setCookie(cookieDeclined, version, declinedFor)
	v.accept(answer, notice)
	return nil
}

// declinedFor is how long a browser remembers that its user declined.
const declinedFor = 180 * 24 * time.Hour

// choose turns the switch of a purpose.
func (s *site) choose(v *visit) error {
	purpose, decision := v.r.PathValue("purpose"), v.r.PostFormValue("decision")
	if decision != "allow" && decision != "deny" {
		return errAnswer
	}
	var answer written
	who := v.person
	who.Known = v.r.PostFormValue("known")
	err := s.API.do(v.r.Context(), who, http.MethodPut, v.path()+"/consent/"+url.PathEscape(purpose), map[string]string{"decision": decision}, &answer)
	if err != nil {
		return err
	}
	v.accept(answer, v.chosen(purpose, decision)+" Effective since "+answer.EffectiveAt.UTC().Format("15:04:05 UTC")+".")
	return v.back("/settings/privacy")
}

// chosen says what a choice does.
func (v *visit) chosen(purpose, decision string) string {
	title, where := titleOf(purpose), "in this browser"
	if v.User != "" {
		where = "on all your devices"
	}
	switch {
	case decision == "deny":
		return title + ": off, from this moment, " + where + "."
	case v.GPC:
		return title + ": your choice is recorded. It stays off while your browser sends Global Privacy Control."
	case purpose == personalize:
		return title + ": on. Only what you do from now on counts."
	default:
		return title + ": on, " + where + "."
	}
}

func (s *site) deleteFootprints(v *visit) error {
	path, notice := v.path()+"/history", "All footprints are deleted, and everything that was made from them."
	if id := v.r.PostFormValue("event_id"); id != "" {
		path, notice = path+"/"+url.PathEscape(id), "The footprint is deleted, and what was made from it."
	}
	var answer written
	if err := s.API.do(v.r.Context(), v.person, http.MethodDelete, path, nil, &answer); err != nil {
		return err
	}
	v.accept(answer, notice)
	return v.back("/settings/privacy")
}

func (s *site) block(v *visit) error {
	return s.setBlock(v, http.MethodPut, "You will not see this again. Undo it under Privacy.", "/")
}

func (s *site) unblock(v *visit) error {
	return s.setBlock(v, http.MethodDelete, "It may be shown again.", "/settings/privacy")
}

func (s *site) setBlock(v *visit, method, notice, fallback string) error {
	kind := v.r.PostFormValue("kind")
	if kind != "item" && kind != "category" {
		return errNotFound
	}
	var answer written
	path := v.path() + "/blocks/" + kind + "/" + url.PathEscape(v.r.PostFormValue("id"))
	if err := s.API.do(v.r.Context(), v.person, method, path, nil, &answer); err != nil {
		return err
	}
	v.accept(answer, notice)
	return v.back(fallback)
}

// footprintLine is a footprint as the page shows it.
type footprintLine struct {
	footprint
	What  string
	Items []Item
}

var typeWords = map[string]string{
	"view_item": "Looked at", "select_item": "Opened", "search": "Searched for", "add_to_cart": "Put in the cart", "remove_from_cart": "Took out of the cart",
	"add_to_wishlist": "Wished for", "follow": "Followed", "share": "Shared", "after_sales": "Asked for service about", "purchase": "Bought", "view_item_list": "Was shown", "page_view": "Visited the shop",
}

// offWords and onWords say why a purpose is denied or allowed, by the API's code.
var (
	offWords = map[string]string{
		"policy_not_accepted": "The privacy notice is not accepted.",
		"policy_superseded":   "The privacy notice has changed, and the new one is not accepted.",
		"choice":              "You switched it off.",
		"default":             "It starts switched off here, and you have not chosen.",
		"gpc":                 "Your browser sends Global Privacy Control.",
		"device":              "It is switched off in this browser.",
		"account":             "It is switched off in your account.",
		"unregistered":        "This shop does not do it.",
	}
	onWords = map[string]string{
		"choice":  "You switched it on.",
		"default": "It starts switched on here, and you have not chosen.",
	}
)

// why says in words why a purpose of the tier is in its state.
func (p purposeState) why(tier string) string {
	words := offWords[p.Because]
	if p.On() {
		words = onWords[p.Because]
	}
	switch {
	case p.chosen() && !p.On() && words != "":
		return "You switched it on, and it stays off for now. " + words
	case words != "":
		return words
	case p.On() && tier == "legal":
		return "The law asks for it."
	case p.On():
		return "It comes with the privacy notice."
	default:
		return "Not allowed now."
	}
}

// On tells whether the purpose is allowed.
func (p purposeState) On() bool { return p.Effective == "allow" }

// chosen tells whether the switch is on: it shows the person's own choice, and what holds where they made none.
func (p purposeState) chosen() bool {
	if p.Choice == nil {
		return p.On()
	}
	return *p.Choice == "allow"
}

// personalize is the purpose that has its own words and place.
const personalize = "personalize"

// titles name the purposes in a shopper's words. A purpose that is not here goes by its own name.
var titles = map[string]string{
	"history":               "Your footprints",
	"trending":              "Lists of what many people choose",
	"risk":                  "Protection against fraud",
	personalize:             "Recommendations based on your activity",
	"marketing.first_party": "Advertisements in this shop that follow your preferences",
	"marketing.third_party": "Our advertisements in other companies’ apps",
	"marketing.sms":         "Offers by text message",
	"marketing.push":        "Offers by push message",
}

func titleOf(purpose string) string {
	if title := titles[purpose]; title != "" {
		return title
	}
	return purpose
}

// kinds say what a tier means for the person.
var kinds = map[string]string{
	"basic": "Comes with the privacy notice", "switchable": "Comes with the privacy notice, and has a switch", "additional": "Asked for separately, by its switch", "legal": "The law asks for it",
}

// purposeLine is a purpose as the page shows it, with its state and the reason in words.
type purposeLine struct {
	purpose
	Title, Kind string
	On          bool // allowed now
	Chosen      bool // by the switch
	Why         string
}

// HasSwitch tells whether the person can choose.
func (l *purposeLine) HasSwitch() bool { return l.Tier == "switchable" || l.Tier == "additional" }

func purposeLines(purposes []purpose, state consentState) []*purposeLine {
	lines := make([]*purposeLine, len(purposes))
	for i, p := range purposes {
		now := state.Purposes[p.Name]
		lines[i] = &purposeLine{purpose: p, Title: titleOf(p.Name), Kind: kinds[p.Tier], On: now.On(), Chosen: now.chosen(), Why: now.why(p.Tier)}
	}
	return lines
}

// browserIsOff tells whether recommendations were switched off in this browser before its user signed in. They then stay off in it, whatever the account says.
func (v *visit) browserIsOff() (bool, error) {
	if v.User == "" {
		return false, nil
	}
	var state consentState
	browser := person{Anonymous: v.Anonymous}
	err := v.site.API.do(v.r.Context(), browser, http.MethodGet, browser.path()+"/consent", nil, &state)
	now := state.Purposes[personalize]
	return !now.On() && now.Because == "choice", err
}

func (s *site) privacy(v *visit) error {
	state, err := v.consent()
	if err != nil {
		return err
	}
	off, err := v.browserIsOff()
	if err != nil {
		return err
	}
	var policy policyText
	if err := s.API.do(v.r.Context(), v.person, http.MethodGet, "/v1/policy", nil, &policy); err != nil {
		return err
	}
	var blocked blocks
	if err := s.API.do(v.r.Context(), v.person, http.MethodGet, v.path()+"/blocks", nil, &blocked); err != nil {
		return err
	}
	var history struct {
		Items      []footprint `json:"items"`
		NextCursor string      `json:"next_cursor"`
	}
	path := v.path() + "/history?limit=50"
	if cursor := v.r.URL.Query().Get("cursor"); cursor != "" {
		path += "&cursor=" + url.QueryEscape(cursor)
	}
	err = s.API.do(v.r.Context(), v.person, http.MethodGet, path, nil, &history)
	unreadable := hasCode(err, "history_unavailable") // the switches beside it must stay
	if err != nil && !unreadable {
		return err
	}
	lines := make([]footprintLine, len(history.Items))
	for i, f := range history.Items {
		lines[i] = footprintLine{footprint: f, What: typeWords[f.Type]}
		for _, id := range f.ItemIDs {
			if item, ok := s.Catalogue.Item(id); ok {
				lines[i].Items = append(lines[i].Items, item)
			}
		}
	}
	items := make([]Item, 0, len(blocked.Items))
	for _, id := range blocked.Items {
		item, ok := s.Catalogue.Item(id)
		if !ok {
			item = Item{ID: id, Title: id}
		}
		items = append(items, item)
	}
	return v.render("privacy", http.StatusOK, map[string]any{
		"Title": "Privacy", "Version": policy.Version, "Purposes": purposeLines(policy.Purposes, state), "Revision": state.Revision, "BrowserOff": off, "History": lines, "Unreadable": unreadable, "NextCursor": history.NextCursor,
		"BlockedItems": items, "BlockedCategories": blocked.Categories,
	})
}
