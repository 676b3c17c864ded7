package web

import (
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// policyNotice puts the notice on the page until it is answered.
func (v *visit) policyNotice(data map[string]any) error {
	var state consentState
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodGet, v.path()+"/consent", nil, &state); err != nil {
		return err
	}
	data["Consent"] = state
	data["PersonalOn"] = state.Purposes["personalize"].Effective == "allow"
	if state.Policy.Accepted || v.cookie("sluice_declined") == state.Policy.Version {
		return nil
	}
	var policy policyText
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodGet, "/v1/policy", nil, &policy); err != nil {
		return err
	}
	data["Policy"] = policy
	return nil
}

// decidePolicy records an acceptance. Declining records nothing: nobody's refusal is stored; the browser alone remembers not to ask again.
func (s *site) decidePolicy(v *visit) error {
	version := v.r.PostFormValue("version")
	if v.r.PostFormValue("accept") != "yes" {
		v.setCookie("sluice_declined", version, 180*24*time.Hour)
		v.tell("Nothing about your visit is stored. You can change this under Privacy.")
		return v.back("/")
	}
	var answer written
	body := map[string]any{"version": version, "accepted": true}
	if err := s.API.do(v.r.Context(), v.person, http.MethodPut, v.path()+"/policy", body, &answer); err != nil {
		return err
	}
	v.accept(answer, "Thank you. You can change every choice under Privacy.")
	return v.back("/")
}

func (s *site) switchPersonal(v *visit) error {
	decision, notice := "deny", "Recommendations are off, from this moment, everywhere."
	if v.r.PostFormValue("decision") == "allow" {
		decision, notice = "allow", "Recommendations are on. Only what you do from now on counts."
	}
	var answer written
	err := s.API.do(v.r.Context(), v.person, http.MethodPut, v.path()+"/consent/personalize", map[string]string{"decision": decision}, &answer)
	if err != nil {
		return err
	}
	v.accept(answer, fmt.Sprintf("%s Effective since %s (revision %s).", notice, answer.EffectiveAt.UTC().Format("15:04:05 UTC"), answer.Revision))
	return v.back("/settings/privacy")
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
	"add_to_wishlist": "Wished for", "purchase": "Bought", "view_item_list": "Was shown", "page_view": "Visited the shop",
}

func (s *site) privacy(v *visit) error {
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
	if err := s.API.do(v.r.Context(), v.person, http.MethodGet, path, nil, &history); err != nil {
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
		"Title": "Privacy", "Purposes": policy.Purposes, "History": lines, "NextCursor": history.NextCursor,
		"BlockedItems": items, "BlockedCategories": blocked.Categories,
	})
}
