# The two commands of the project. What they do is written in xtask, so that it is the same wherever it is run from.
.PHONY: help demo test soak experiment bench

help:
	@echo 'make demo   watch a volume being attached, used while half of its portals are dead, and given back'
	@echo 'make test   every check but what takes hours, with cases on a real kernel'
	@echo 'make soak   a hundred thousand histories on the simulated host, its every case beside a real kernel, the cases that take too long for make test, and all on Debian 13'
	@echo 'make experiment   attach and detach under faults beside os-brick, and make docs/experiment.md; hours, unless a part'
	@echo '                  is asked for: make experiment CELLS=smoke RUNS=1'
	@echo 'make bench        measure speed beside os-brick and the least that must be done, and make docs/benchmark.md'
	@echo 'cargo xtask --help   all the rest'

demo:
	@cargo xtask demo

test:
	@cargo xtask test

soak:
	@cargo xtask sim --sabotage
	@cargo xtask sim --runs 100000 --cover
	@cargo xtask conformance --all
	@cargo xtask lab soak

experiment:
	@cargo xtask experiment $(if $(CELLS),--cells $(CELLS)) $(if $(RUNS),--runs $(RUNS)) $(if $(JOBS),--jobs $(JOBS))

bench:
	@cargo xtask bench $(if $(ROUNDS),--rounds $(ROUNDS))
