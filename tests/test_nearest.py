from runloop.nearest import did_you_mean, nearest


def test_the_nearest_known_name_is_found_also_where_only_the_case_differs():
    assert nearest("modle", ["mail", "model"]) == "model"
    assert nearest("MODEL", ["mail", "model"]) == "model"
    assert nearest("Modle", ["Mail", "Model"]) == "Model"
    assert nearest("xyz", ["mail", "model"]) == ""


def test_a_mistyped_word_gets_the_nearest_known_one_and_a_strange_one_all():
    assert did_you_mean("modle", ["model", "mail"]) == "did you mean 'model'?"
    assert did_you_mean("xyz", ["model", "mail"]) == "known: mail, model"
    assert did_you_mean("xyz", ["c", "b", "a"], most=2) == "known: a, b, …"
    assert did_you_mean("xyz", ["b", "a"], most=2) == "known: a, b"
    assert did_you_mean("xyz", []) == ""
