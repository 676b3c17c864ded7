// Package features folds the purpose streams into kept state, declared in YAML, and follows that state in views that servers read.
//
// Engines (stream.Engine) keep one record a subject, contributor, or entity and day. Views follow the engines' changelogs; whatever is about items, not people,
// is a fold over the current records and is never stored, so that a purge subtracts exactly.
package features
