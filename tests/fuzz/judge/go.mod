module auditsplit/fuzz-judge

go 1.25
