# The two commands of the project. What they do is written in xtask, so that it is the same wherever it is run from.
.PHONY: help demo test soak

help:
	@echo 'make demo   watch a volume being attached, used while half of its portals are dead, and given back'
	@echo 'make test   every check, the cases on a real kernel included'
	@echo 'make soak   the cases that take too long for make test, and all on Debian 13'
	@echo 'cargo xtask --help   all the rest'

demo:
	@cargo xtask demo

test:
	@cargo xtask test

soak:
	@cargo xtask lab soak
