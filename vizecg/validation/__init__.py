"""What must be true of records and pages before a model learns from them.

`suites` says what, in words and as expectations; `limits` where a warning
begins; `tables` lays the data out so that each question is about one column;
`judge` asks Great Expectations; `page` tells a person who is no engineer.
"""
