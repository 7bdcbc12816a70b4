"""The process of `hopper worker`: it claims tasks, runs a command for each, and reports.

`answers` says what an answer of the server means. `guard` is a process of its own that runs one
command; `child` speaks with it. `attempt` keeps the files of one attempt on disk, `results` makes a
report of them, `reporter` delivers it. `beat` extends the lease. `wakeup` wakes its main thread.
`process` puts them together.
"""
