//go:build race

package auth0secrets

// raceDetector: the tests run with it, which takes several times as long.
const raceDetector = true
