/* The request listener in C: the same as the one in columns.py for the ordinary request, at a third of its cost.
 *
 * A `Listener` takes Locust's keyword arguments straight from their dict and appends the request to the `Rows` of its
 * endpoint and status. Whatever is not ordinary (a failure, an endpoint that `add` has not been told, a name that is no
 * string …) goes to the listener in Python, which also decides what is bounded and folded. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stddef.h>
#include <time.h>

#if PY_VERSION_HEX < 0x030C0000 /* these names came with 3.12 */
#include <structmember.h>
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_READONLY READONLY
#endif

#define MAX_INT 9007199254740991.0 /* the largest integer that every JSON reader keeps: encode.MAX_INT */
#define NO_STATUS (-1)
#define DIGITS 21 /* a sign, the 19 digits of a long long, a comma */

typedef struct {
    double at;            /* seconds since the epoch */
    double response_time; /* milliseconds; NaN: none */
    long long bytes;
} Row;

typedef struct Rows {
    PyObject_HEAD
    PyObject *name, *method;
    long status;
    Row *rows;
    Py_ssize_t count, capacity;
    struct Rows *next; /* the same name with another method or status; owned */
} Rows;

static PyTypeObject RowsType;

static Rows *rows_new(PyObject *name, PyObject *method, long status) {
    Rows *self = PyObject_New(Rows, &RowsType);
    if (!self) return NULL;
    self->name = Py_NewRef(name);
    self->method = Py_NewRef(method);
    self->status = status;
    self->rows = NULL;
    self->count = self->capacity = 0;
    self->next = NULL;
    return self;
}

static void rows_dealloc(Rows *self) {
    PyMem_Free(self->rows);
    Py_DECREF(self->name);
    Py_DECREF(self->method);
    Py_XDECREF(self->next);
    PyObject_Free(self);
}

static int rows_append(Rows *self, Row row) {
    if (self->count == self->capacity) {
        Py_ssize_t capacity = self->capacity ? self->capacity + self->capacity / 2 : 16;
        Row *rows = PyMem_Realloc(self->rows, (size_t)capacity * sizeof(Row));
        if (!rows) {
            PyErr_NoMemory();
            return -1;
        }
        self->rows = rows;
        self->capacity = capacity;
    }
    self->rows[self->count++] = row;
    return 0;
}

static Py_ssize_t rows_length(Rows *self) { return self->count; }

static char *write_int(char *out, long long value) {
    char digits[24];
    int n = 0;
    unsigned long long rest = value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value;
    do {
        digits[n++] = (char)('0' + rest % 10);
    } while (rest /= 10);
    if (value < 0) *out++ = '-';
    while (n) *out++ = digits[--n];
    *out++ = ',';
    return out;
}

/* A clock that says anything else than a time (NaN included) must not lead out of an integer's range. */
static long long at_ms(const Row *row) {
    double ms = floor(row->at * 1000.0);
    return (long long)(ms >= -MAX_INT ? fmin(ms, MAX_INT) : -MAX_INT);
}

/* Writes one column of the rows from `start` to `stop` as decimals with commas between. */
static PyObject *column(Rows *self, Py_ssize_t start, Py_ssize_t stop, int which, long long from_ms) {
    if (start < 0 || stop > self->count || start >= stop) {
        return PyErr_Format(PyExc_IndexError, "expected 0 <= start < stop <= %zd, found %zd and %zd", self->count,
                            start, stop);
    }
    PyObject *text = PyBytes_FromStringAndSize(NULL, (stop - start) * DIGITS);
    if (!text) return NULL;
    char *begin = PyBytes_AS_STRING(text), *out = begin;
    long long before = from_ms;
    for (Py_ssize_t i = start; i < stop; i++) {
        const Row *row = &self->rows[i];
        if (which == 0) {
            long long at = at_ms(row);
            out = write_int(out, at - before);
            before = at;
        } else if (which == 2) {
            out = write_int(out, row->bytes);
        } else if (isnan(row->response_time)) {
            memcpy(out, "null,", 5);
            out += 5;
        } else {
            out = write_int(out, (long long)rint(row->response_time * 1000.0));
        }
    }
    _PyBytes_Resize(&text, out - begin - 1);
    return text;
}

static PyObject *rows_at_ms(Rows *self, PyObject *args) {
    Py_ssize_t start, stop;
    long long from_ms;
    if (!PyArg_ParseTuple(args, "nnL:at_ms", &start, &stop, &from_ms)) return NULL;
    return column(self, start, stop, 0, from_ms);
}

static PyObject *rows_response_time_us(Rows *self, PyObject *args) {
    Py_ssize_t start, stop;
    if (!PyArg_ParseTuple(args, "nn:response_time_us", &start, &stop)) return NULL;
    return column(self, start, stop, 1, 0);
}

static PyObject *rows_response_bytes(Rows *self, PyObject *args) {
    Py_ssize_t start, stop;
    if (!PyArg_ParseTuple(args, "nn:response_bytes", &start, &stop)) return NULL;
    return column(self, start, stop, 2, 0);
}

static PyObject *rows_status(Rows *self, void *unused) {
    (void)unused;
    if (self->status == NO_STATUS) Py_RETURN_NONE;
    return PyLong_FromLong(self->status);
}

static PyObject *rows_name(Rows *self, void *unused) {
    (void)unused;
    return Py_NewRef(self->name);
}

static PyObject *rows_method(Rows *self, void *unused) {
    (void)unused;
    return Py_NewRef(self->method);
}

static PyMethodDef rows_methods[] = {
    {"at_ms", (PyCFunction)rows_at_ms, METH_VARARGS, "Text of the completion times, as differences."},
    {"response_time_us", (PyCFunction)rows_response_time_us, METH_VARARGS, "Text of the response times."},
    {"response_bytes", (PyCFunction)rows_response_bytes, METH_VARARGS, "Text of the sizes."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef rows_getset[] = {
    {"name", (getter)rows_name, NULL, "Request name.", NULL},
    {"method", (getter)rows_method, NULL, "Request method.", NULL},
    {"status", (getter)rows_status, NULL, "HTTP status or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PySequenceMethods rows_sequence = {.sq_length = (lenfunc)rows_length};

static PyTypeObject RowsType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "locust_hook.recording._fast.Rows",
    .tp_doc = "Requests of one endpoint and status.",
    .tp_basicsize = sizeof(Rows),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)rows_dealloc,
    .tp_methods = rows_methods,
    .tp_getset = rows_getset,
    .tp_as_sequence = &rows_sequence,
};

typedef struct {
    PyObject_HEAD
    PyObject *by_name; /* name → the first of its Rows */
    PyObject *left;    /* list of Rows that are no longer known, but not taken yet */
    PyObject *slow;    /* the listener in Python */
    PyObject *now;     /* None, or a clock to call, for tests */
    Py_ssize_t count;
} Listener;

static PyObject *k_name, *k_request_type, *k_response_time, *k_response_length, *k_response, *k_exception,
    *k_status_code;

static PyObject *listener_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"slow", "now", NULL};
    PyObject *slow, *now = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:Listener", names, &slow, &now)) return NULL;
    Listener *self = (Listener *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->slow = Py_NewRef(slow);
    self->now = Py_NewRef(now);
    self->by_name = PyDict_New();
    self->left = PyList_New(0);
    if (!self->by_name || !self->left) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int listener_traverse(Listener *self, visitproc visit, void *arg) {
    Py_VISIT(self->by_name);
    Py_VISIT(self->left);
    Py_VISIT(self->slow);
    Py_VISIT(self->now);
    return 0;
}

static int listener_clear(Listener *self) {
    Py_CLEAR(self->by_name);
    Py_CLEAR(self->left);
    Py_CLEAR(self->slow);
    Py_CLEAR(self->now);
    return 0;
}

static void listener_dealloc(Listener *self) {
    PyObject_GC_UnTrack(self);
    listener_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* The HTTP status of `response`: 1 and the status, 0 when Python has to look at it, -1 with an exception. */
static int status_of(PyObject *response, long *status) {
    *status = NO_STATUS;
    if (!response || response == Py_None) return 1;
    PyObject *code = PyObject_GetAttr(response, k_status_code);
    if (!code) {
        /* None there, or a property of a client's own that fails: the request counts all the same. */
        if (!PyErr_ExceptionMatches(PyExc_Exception)) return -1;
        PyErr_Clear();
        return 1;
    }
    int ordinary = 0;
    if (PyLong_CheckExact(code)) {
        int overflow;
        long value = PyLong_AsLongAndOverflow(code, &overflow);
        ordinary = !overflow && (value == 0 || (value >= 100 && value <= 999));
        if (value) *status = value;
    }
    Py_DECREF(code);
    return ordinary;
}

/* A number as a double, None as NaN; 0 when it is neither, or too large. */
static int number_of(PyObject *object, double *number) {
    if (!object) return 0;
    if (object == Py_None) {
        *number = NAN;
    } else if (PyFloat_CheckExact(object)) {
        *number = PyFloat_AS_DOUBLE(object);
    } else if (PyLong_CheckExact(object)) {
        *number = PyLong_AsDouble(object);
        if (*number == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
    } else {
        return 0;
    }
    return isnan(*number) || fabs(*number) <= MAX_INT / 1000.0;
}

static int size_of(PyObject *object, long long *size) {
    int overflow;
    if (!object || !PyLong_CheckExact(object)) return 0;
    *size = PyLong_AsLongLongAndOverflow(object, &overflow);
    return !overflow && *size <= (long long)MAX_INT && *size >= -(long long)MAX_INT;
}

static int now_of(Listener *self, double *at) {
    if (self->now == Py_None) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        *at = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
        return 0;
    }
    PyObject *now = PyObject_CallNoArgs(self->now);
    if (!now) return -1;
    *at = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return *at == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static Rows *find(Listener *self, PyObject *name, PyObject *method, long status) {
    Rows *rows = (Rows *)PyDict_GetItemWithError(self->by_name, name);
    for (; rows; rows = rows->next) {
        if (rows->status != status) continue;
        if (rows->method == method) return rows;
        int same = PyObject_RichCompareBool(rows->method, method, Py_EQ); /* both are exact strings */
        if (same > 0) return rows;
    }
    return NULL;
}

static PyObject *listener_call(Listener *self, PyObject *args, PyObject *kwargs) {
    if (kwargs && PyTuple_GET_SIZE(args) == 0) {
        PyObject *exception = PyDict_GetItemWithError(kwargs, k_exception);
        PyObject *name = PyDict_GetItemWithError(kwargs, k_name);
        PyObject *method = PyDict_GetItemWithError(kwargs, k_request_type);
        Row row;
        long status;
        if ((!exception || exception == Py_None) && name && PyUnicode_CheckExact(name) && method &&
            PyUnicode_CheckExact(method) &&
            number_of(PyDict_GetItemWithError(kwargs, k_response_time), &row.response_time) &&
            size_of(PyDict_GetItemWithError(kwargs, k_response_length), &row.bytes)) {
            int ordinary = status_of(PyDict_GetItemWithError(kwargs, k_response), &status);
            if (ordinary < 0) return NULL;
            Rows *rows = ordinary ? find(self, name, method, status) : NULL;
            if (rows) {
                Py_INCREF(rows); /* a clock in Python could forget them */
                int failed = now_of(self, &row.at) < 0 || rows_append(rows, row) < 0;
                Py_DECREF(rows);
                if (failed) return NULL;
                self->count++;
                Py_RETURN_NONE;
            }
        }
        if (PyErr_Occurred()) return NULL;
    }
    return PyObject_Call(self->slow, args, kwargs);
}

static PyObject *listener_add(Listener *self, PyObject *args) {
    PyObject *name, *method, *code;
    if (!PyArg_ParseTuple(args, "UUO:add", &name, &method, &code)) return NULL;
    long status = NO_STATUS;
    if (code != Py_None) {
        status = PyLong_AsLong(code);
        if (status == -1 && PyErr_Occurred()) return NULL;
    }
    if (find(self, name, method, status)) Py_RETURN_NONE;
    Rows *rows = rows_new(name, method, status);
    if (!rows) return NULL;
    Rows *first = (Rows *)PyDict_GetItemWithError(self->by_name, name);
    if (first) {
        while (first->next) first = first->next;
        first->next = rows;
        Py_RETURN_NONE;
    }
    int failed = PyErr_Occurred() || PyDict_SetItem(self->by_name, name, (PyObject *)rows) < 0;
    Py_DECREF(rows);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

/* Moves what is in the known Rows to new ones in `list`. */
static int move_rows(Listener *self, PyObject *list) {
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(self->by_name, &position, &key, &value)) {
        for (Rows *rows = (Rows *)value; rows; rows = rows->next) {
            if (!rows->count) continue;
            Rows *moved = rows_new(rows->name, rows->method, rows->status);
            if (!moved) return -1;
            moved->rows = rows->rows;
            moved->count = rows->count;
            moved->capacity = rows->capacity;
            rows->rows = NULL;
            rows->count = rows->capacity = 0;
            int failed = PyList_Append(list, (PyObject *)moved);
            Py_DECREF(moved);
            if (failed) return -1;
        }
    }
    return 0;
}

static PyObject *listener_take(Listener *self, PyObject *unused) {
    (void)unused;
    PyObject *fresh = PyList_New(0);
    if (!fresh || move_rows(self, self->left) < 0) {
        Py_XDECREF(fresh);
        return NULL;
    }
    PyObject *taken = self->left;
    self->left = fresh;
    self->count = 0;
    return taken;
}

static PyObject *listener_forget(Listener *self, PyObject *unused) {
    (void)unused;
    if (move_rows(self, self->left) < 0) return NULL;
    PyDict_Clear(self->by_name);
    Py_RETURN_NONE;
}

/* No length: a listener without requests would be false. */
static PyMemberDef listener_members[] = {
    {"count", Py_T_PYSSIZET, offsetof(Listener, count), Py_READONLY, "Requests since the last take."},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef listener_methods[] = {
    {"add", (PyCFunction)listener_add, METH_VARARGS, "Has requests of this name, method and status taken here."},
    {"take", (PyCFunction)listener_take, METH_NOARGS, "Hands over the Rows since the last take."},
    {"forget", (PyCFunction)listener_forget, METH_NOARGS, "Has all further requests taken by Python."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject ListenerType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "locust_hook.recording._fast.Listener",
    .tp_doc = "Listener(slow, now=None): for Locust's request event.",
    .tp_basicsize = sizeof(Listener),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = listener_new,
    .tp_dealloc = (destructor)listener_dealloc,
    .tp_traverse = (traverseproc)listener_traverse,
    .tp_clear = (inquiry)listener_clear,
    .tp_call = (ternaryfunc)listener_call,
    .tp_methods = listener_methods,
    .tp_members = listener_members,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "locust_hook.recording._fast", .m_doc = "The request listener in C.", .m_size = -1};

PyMODINIT_FUNC PyInit__fast(void) {
    struct {
        PyObject **key;
        const char *text;
    } keys[] = {{&k_name, "name"},
                {&k_request_type, "request_type"},
                {&k_response_time, "response_time"},
                {&k_response_length, "response_length"},
                {&k_response, "response"},
                {&k_exception, "exception"},
                {&k_status_code, "status_code"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!(*keys[i].key = PyUnicode_InternFromString(keys[i].text))) return NULL;
    }
    if (PyType_Ready(&RowsType) < 0 || PyType_Ready(&ListenerType) < 0) return NULL;
    PyObject *self = PyModule_Create(&module);
    if (!self) return NULL;
    if (PyModule_AddObjectRef(self, "Listener", (PyObject *)&ListenerType) < 0 ||
        PyModule_AddObjectRef(self, "Rows", (PyObject *)&RowsType) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}
