"""Values packed into rows: what goes in comes out, by name and type, whatever is asked."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.feast_polars.packed_rows import Schema, heard, number_of, pack, pack_one, told, unpacker

FIELDS = st.lists(
    st.tuples(st.text(max_size=5), st.sampled_from(["INT64", "DOUBLE", "STRING"])), min_size=1, max_size=6, unique=True
).map(tuple)


@settings(max_examples=100, deadline=None)
@given(st.data(), FIELDS, FIELDS)
def test_what_goes_in_comes_out_by_name_and_type(data: st.DataObject, held: Schema, others: Schema) -> None:
    one = st.tuples(*[st.binary(max_size=300)] * len(held))
    rows = data.draw(st.lists(one, min_size=1, max_size=5))
    columns = [pa.array(column, pa.large_binary()) for column in zip(*rows, strict=True)]
    packed = pack(columns).to_pylist()
    assert packed == [pack_one(row) for row in rows]
    wanted = tuple(data.draw(st.permutations([*held, *others])))
    assert [unpacker(held, wanted)(row) for row in packed] == [
        [dict(zip(held, row, strict=True)).get(field) for field in wanted] for row in rows
    ]
    assert pack([column[1:] for column in columns]).to_pylist() == packed[1:]


@given(FIELDS, FIELDS)
def test_a_schemas_number_is_its_own(one: Schema, other: Schema) -> None:
    assert (number_of(one) == number_of(other)) == (one == other)
    assert heard(told(one)) == one
    assert -(2**63) <= number_of(one) < 2**63  # what SQLite takes
