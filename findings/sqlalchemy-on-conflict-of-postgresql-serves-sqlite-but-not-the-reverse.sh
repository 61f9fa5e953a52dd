#!/usr/bin/env bash
# An INSERT ... ON CONFLICT that is built with SQLAlchemy's PostgreSQL dialect compiles for SQLite; one of the SQLite dialect fails for PostgreSQL.
#
# Expected: SQLite took the clause over from PostgreSQL, and both constructs have the same methods and arguments. So either each compiles for
# both databases, or a wrong one is refused with a CompileError that names the dialects.
# Seen: with SQLAlchemy 2.1.9 `postgresql.insert` gives valid SQL for both. `sqlite.insert` gives the same for SQLite, and for PostgreSQL an
# AttributeError from inside the compiler: "'OnConflictDoUpdate' object has no attribute 'constraint_target'".
# Why it matters: code that starts on SQLite and later serves PostgreSQL too can keep one statement for both, if it imports the other `insert`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check sqlalchemy==2.1.9
seen=$("$folder/venv/bin/python" - <<'PYTHON'
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

print("SQLAlchemy", sa.__version__)
table = sa.Table("t", sa.MetaData(), sa.Column("k", sa.Text, primary_key=True), sa.Column("v", sa.Integer))
for built in (postgresql, sqlite):
    new = built.insert(table)
    statement = new.on_conflict_do_update(index_elements=["k"], set_={"v": new.excluded.v})
    for used in (postgresql, sqlite):
        try:
            text = str(statement.compile(dialect=used.dialect())).split(" ON ")[1]
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        print(f"{built.__name__.split('.')[-1]} for {used.__name__.split('.')[-1]}: {text}")
PYTHON
)
printf '%s\n' "$seen"
clause="CONFLICT (k) DO UPDATE SET v = excluded.v"
wanted="SQLAlchemy 2.1.9
postgresql for postgresql: $clause
postgresql for sqlite: $clause
sqlite for postgresql: AttributeError: 'OnConflictDoUpdate' object has no attribute 'constraint_target'
sqlite for sqlite: $clause"
[ "$seen" = "$wanted" ] || { echo "This has changed: read the script again."; exit 1; }
