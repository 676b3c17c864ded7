package recommend

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"sluice/recommend/cursor"
)

// Recommendations is what every ranking endpoint answers.
type Recommendations struct {
	RecommendationID       string              `json:"recommendation_id" doc:"Echo it on the events that this list leads to. Random for a personal list; else a digest of what the list was made from, equal for equal lists."`
	Personalized           bool                `json:"personalized"`
	NotPersonalizedBecause *string             `json:"not_personalized_because" enum:"opted_out,no_consent,no_subject,no_history,degraded,surface" doc:"Why the list is everyone's: the person said no; has not accepted or been asked; nobody was named; nothing is known to go by; it could not be made in time; the place is the same for all. null for a personal list."`
	Items                  []RecommendedItem   `json:"items" doc:"The best first, except where constraints and diversity ask for another order."`
	Relaxed                []RelaxedConstraint `json:"relaxed" doc:"Promises of the surface that could not be kept with what the catalogue has."`
	NextCursor             *string             `json:"next_cursor" doc:"For the next page, within 30 minutes; null where the list ends."`
	ConfigVersion          string              `json:"config_version" doc:"sha256: and the digest of the surfaces' effective configuration."`
}

// RecommendedItem is one item of a list.
type RecommendedItem struct {
	ItemID  string                 `json:"item_id"`
	Score   float64                `json:"score" doc:"0 to 1, to be compared within this answer only."`
	Reasons []RecommendationReason `json:"reasons" doc:"Why it is here, the strongest first; at most three."`
}

// RecommendationReason names one cause.
type RecommendationReason struct {
	Code   string `json:"code" enum:"session,viewed_together,category,popular,trending,new,same_category,search,catalogue" doc:"Stable code of the cause."`
	ItemID string `json:"item_id,omitempty" doc:"The item that caused it: one the person looked at, or one of the page's."`
	Text   string `json:"text" doc:"For people, in English."`
}

// RelaxedConstraint is a constraint that could not be kept.
type RelaxedConstraint struct {
	Code   string `json:"code" enum:"at_most,category" doc:"at_most: a constraint of the surface. category: the page's category is unknown to the catalogue, so the list is not limited to it."`
	AtMost int    `json:"at_most,omitzero,omitempty"`
	Same   string `json:"same,omitempty" enum:"category,brand,seller"`
	Within int    `json:"within,omitzero,omitempty"`
	Slots  []int  `json:"slots,omitempty" doc:"Positions in items, from 0, that exceed the constraint."`
	Text   string `json:"text"`
}

// digest is a digest of the page: what a cursor belongs to.
func (q *query) digest() [8]byte {
	var d digest
	d.text(q.surface.Name, q.context.Category, q.context.SearchTerm, q.context.Locale, q.context.Region)
	d.texts(q.context.ItemIDs)
	d.numbers(uint64(q.context.Bucket))
	sum := d.sum()
	return [8]byte(sum[:])
}

// inputs are what a list that is not personal is made from, beside the query.
type inputs struct {
	config    string
	blocks    string // digest
	tick      int64  // of the published lists
	catalogue uint64 // version
	begun     int    // items of the catalogue with an available_from that has come
}

// id is the recommendation id of a list that is not personal: equal inputs, equal id.
func (q *query) id(in *inputs) string {
	d := append(digest(nil), q.pageHash[:]...)
	d.texts(q.exclude)
	d.text(in.config, in.blocks)
	d.numbers(uint64(in.tick), in.catalogue, uint64(in.begun), uint64(q.limit))
	if q.cursor != nil { // what was shown decides, not when or to whom
		d = (&cursor.State{Shown: q.cursor.Shown, Slots: q.cursor.Slots}).Append(d)
	}
	sum := d.sum()
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// randomID is the recommendation id of a personal list.
func randomID() string {
	var id [18]byte
	_, _ = rand.Read(id[:]) // crypto/rand never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// digest gathers values that are framed by their length; its sum is their SHA-256.
type digest []byte

func (d digest) sum() [sha256.Size]byte { return sha256.Sum256(d) }

func (d *digest) numbers(ns ...uint64) {
	for _, n := range ns {
		*d = binary.BigEndian.AppendUint64(*d, n)
	}
}

func (d *digest) text(texts ...string) {
	for _, t := range texts {
		d.numbers(uint64(len(t)))
		*d = append(*d, t...)
	}
}

func (d *digest) texts(list []string) {
	d.numbers(uint64(len(list)))
	d.text(list...)
}
