"""Models that run here: a catalogue, their files, and one supervised child process for each.

Native code never runs in the gateway's process.  Everything outside this package meets an engine as an address
that speaks the OpenAI protocol, and a key.
"""
