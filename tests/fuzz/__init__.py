"""The differential fuzzer: do all decode paths agree with each other, and with Go's encoding/json?"""
