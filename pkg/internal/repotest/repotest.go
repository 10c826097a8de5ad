// Package repotest is tests about the repository itself: who imports whom,
// that packages say what they are, that documents are as the code is.
package repotest
