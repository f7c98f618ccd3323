"""A fleet of simulated agents on real SDKs, and the fake model API they talk to.

`python -m taximeter.demo` fills a collector with believable history;
`python -m taximeter.demo.fake_api` serves the model API alone, for an agent of one's own.
"""
