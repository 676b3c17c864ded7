// Package features folds the purpose streams into kept state, declared in YAML, and follows that state in views that servers read.
//
// Engines (stream.Engine) keep one record for each subject, contributor, or entity and day. Views follow the engines' changelogs. What is about items and not
// about people is never stored: it is a fold over the current records, so that a purge subtracts exactly what it must.
package features
