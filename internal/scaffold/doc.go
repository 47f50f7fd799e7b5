// Package scaffold writes the module that a plugin's author starts from: a
// library with one worker, its own test, and a go.mod with which it builds at
// once.
//
// The templates are in directory template, and are compiled into the program.
package scaffold
